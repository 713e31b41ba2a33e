"""Key queues: one delivery at a time, in action, nothing lost, whatever is read again after a crash."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.roles.sequencer.key_queue import (
    MAX_WAITING,
    DeadLetter,
    DropRecord,
    KeyQueue,
    ReleaseAgain,
    ReleaseNext,
    StoreRecord,
    arrive,
    drop,
    is_idle,
    park,
    park_held,
    release_all,
    release_next,
    settle,
    skip,
)

EMPTY = KeyQueue()


def run(
    records: list[tuple[Any, ...]], queue: KeyQueue = EMPTY, *, block: bool = False
) -> tuple[KeyQueue, list[list[Any]]]:
    """Apply (offset, kind, …) records; the queue, and the actions of each."""
    all_actions = []
    for offset, kind, *rest in records:
        match kind:
            case "arrive":
                queue, actions = arrive(queue, offset)
            case "settle":
                queue, actions = settle(queue, offset, *rest, block=block)
            case "skip":
                queue, actions = skip(queue, offset)
            case _:
                queue, actions = drop(queue, offset)
        all_actions.append(actions)
    return queue, all_actions


def test_the_first_delivery_is_released_and_the_others_wait_for_it() -> None:
    queue, actions = run([(0, "arrive"), (1, "arrive"), (2, "arrive"), (3, "settle", 0, "delivered")])
    assert actions == [
        [StoreRecord(0), ReleaseNext(0)],
        [StoreRecord(1)],
        [StoreRecord(2)],
        [DropRecord(0), ReleaseNext(1)],
    ]
    assert (queue.in_flight, queue.waiting) == (1, (2,))


def test_a_settlement_of_another_arrival_changes_nothing() -> None:
    queue, actions = run([(0, "arrive"), (1, "arrive"), (2, "settle", 1, "delivered"), (3, "settle", 7, "dead")])
    assert actions[2:] == [[], []]
    assert queue.in_flight == 0


def test_a_dead_delivery_blocks_its_queue_until_it_is_skipped() -> None:
    records = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "arrive"), (4, "skip")]
    queue, actions = run(records, block=True)
    assert actions[2:] == [[], [StoreRecord(3)], [DropRecord(0), ReleaseNext(1)]]
    assert (queue.blocked, queue.in_flight, queue.waiting) == (-1, 1, (3,))


def test_a_dead_delivery_is_skipped_for_an_endpoint_with_on_exhausted_skip() -> None:
    _, actions = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead")], block=False)
    assert actions[2] == [DropRecord(0), ReleaseNext(1)]


def test_dropped_deliveries_are_dead_and_the_queue_continues() -> None:
    records = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "drop"), (4, "arrive")]
    queue, actions = run(records, block=True)
    assert actions[3:] == [[DeadLetter(1, "ordering_dropped"), DropRecord(0)], [StoreRecord(4), ReleaseNext(4)]]
    assert queue.in_flight == 4


def test_an_arrival_at_a_full_queue_is_dead() -> None:
    queue = KeyQueue(applied=5, in_flight=0, waiting=(1, 2, 3))
    assert arrive(queue, 6, limit=3)[1] == [DeadLetter(6, "ordering_limit")]


@given(st.lists(st.sampled_from(["arrive", "settle"]), max_size=40), st.data())
def test_in_order_one_at_a_time_also_when_records_are_read_again(kinds: list[str], data: st.DataObject) -> None:
    queue, offset, released, settled = KeyQueue(), 0, [], []
    log: list[tuple[Any, ...]] = []
    arrived = 0
    for kind in kinds:
        if kind == "settle" and queue.in_flight < 0:
            continue
        record = (offset, "arrive") if kind == "arrive" else (offset, "settle", queue.in_flight, "delivered")
        arrived += kind == "arrive"
        log.append(record)
        if kind == "settle":
            settled.append(queue.in_flight)
        queue, (actions,) = run([record], queue)
        released += [action.offset for action in actions if isinstance(action, ReleaseNext)]
        offset += 1
        if data.draw(st.booleans()):  # a crash: some of the log is read again
            begin = data.draw(st.integers(0, len(log)))
            again, repeated = run(log[begin:], queue)
            assert again == queue, "reading again changes nothing"
            for actions in repeated:
                assert not [action for action in actions if isinstance(action, ReleaseNext)]
                assert all(
                    action == ReleaseAgain(queue.in_flight) for action in actions if isinstance(action, ReleaseAgain)
                )
    assert released == sorted(set(released)), "in action, each once"
    assert len(released) - len(settled) in (0, 1), "one at a time"
    assert len(released) + len(queue.waiting) == arrived
    assert is_idle(queue) == (len(settled) == arrived)


def test_a_reread_successor_does_not_release_the_delivery_in_flight() -> None:
    log: list[tuple[Any, ...]] = [
        (0, "arrive"),
        (1, "arrive"),
        (2, "arrive"),
        (3, "settle", 0, "delivered"),
        (4, "arrive"),
    ]
    queue, _ = run(log)
    assert queue.in_flight == 1
    _, actions = run(log[4:], queue)
    assert actions == [[StoreRecord(4)]]
    _, actions = run(log[3:], queue)
    assert actions == [[ReleaseAgain(1)], [StoreRecord(4)]], (
        "the record that let it go asks: the release may not have been written"
    )


def test_a_delivery_in_flight_can_be_skipped() -> None:
    queue, actions = run([(0, "arrive"), (1, "arrive"), (2, "skip"), (3, "settle", 0, "delivered")])
    assert actions[2:] == [[DropRecord(0), ReleaseNext(1)], []]
    assert (queue.in_flight, queue.waiting) == (1, ())


def test_a_successful_retry_of_a_dead_delivery_unblocks_its_queue() -> None:
    dead: list[tuple[Any, ...]] = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead")]
    for outcome in ("delivered", "cancelled"):
        queue, actions = run([*dead, (3, "settle", 0, outcome)], block=True)
        assert (queue.in_flight, queue.blocked, actions[-1]) == (1, -1, [DropRecord(0), ReleaseNext(1)])
    queue, actions = run([*dead, (3, "settle", 0, "dead")], block=True)
    assert (queue.blocked, actions[-1]) == (0, []), "dead again"


def test_a_returned_delivery_is_the_head_of_its_queue_again() -> None:
    queue, actions = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "parked"), (3, "arrive")])
    assert (actions[2:], queue.waiting, queue.in_flight) == ([[], [StoreRecord(3)]], (0, 1, 3), -1)
    queue, let = release_next(queue, 4)
    assert (queue.in_flight, let) == (0, [ReleaseNext(0)])
    assert release_next(queue, 4) == (queue, [ReleaseAgain(0)]), "read again: the release may not have been written"
    assert release_next(queue, 5) == (queue, []), "it is under way"
    queue, actions = run([(6, "settle", 0, "delivered")], queue)
    assert actions == [[DropRecord(0), ReleaseNext(1)]]


def test_a_dead_delivery_retried_during_a_pause_is_the_head_of_its_queue_again() -> None:
    queue, _ = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "settle", 0, "parked")], block=True)
    assert (queue.blocked, queue.waiting) == (-1, (0, 1))


def test_a_parked_arrival_never_enters_the_queue() -> None:
    queue, actions = park(KeyQueue(), 3)
    assert (actions, queue.applied, is_idle(queue)) == ([DeadLetter(3, "paused")], 3, True)
    assert park(queue, 3) == (queue, [])


def test_held_arrivals_are_parked_in_their_order() -> None:
    queue, _ = run([(0, "arrive"), (1, "arrive")])
    for offset in (2, 3):
        queue, _ = arrive(queue, offset, hold=True)
    queue, actions = park_held(queue)
    assert actions == [DeadLetter(2, "paused"), DeadLetter(3, "paused")]
    assert (queue.waiting, queue.held, park_held(queue)) == ((1,), 0, (queue, []))


def test_dropping_a_queue_drops_held_arrivals_too() -> None:
    queue, _ = arrive(KeyQueue(), 0, hold=True)
    queue, actions = drop(queue, 1)
    assert (actions, is_idle(queue), queue.held) == ([DeadLetter(0, "ordering_dropped")], True, 0)


def test_held_arrivals_are_bounded() -> None:
    queue = KeyQueue(waiting=tuple(range(MAX_WAITING)), held=MAX_WAITING, applied=MAX_WAITING - 1)
    for hold in (True, False):
        _, actions = arrive(queue, MAX_WAITING, hold=hold)
        assert actions == (
            [DeadLetter(MAX_WAITING, "ordering_limit")]
            if hold
            else [StoreRecord(MAX_WAITING), ReleaseNext(MAX_WAITING)]
        )


@given(st.data())
def test_held_arrivals_leave_after_all_others_and_once_despite_rereading(data: st.DataObject) -> None:
    """A resume brings some while fresh ones are held; then they are let go."""
    queue, brought, fresh, released, settled = KeyQueue(), list[int](), list[int](), list[int](), list[int]()
    before = queue
    for offset in range(data.draw(st.integers(1, 30))):
        before, kind = queue, data.draw(st.sampled_from(("bring", "hold", "settle", "return", "release")))
        if kind in ("bring", "hold"):
            queue, actions = arrive(queue, offset, hold=kind == "hold")
            (fresh if kind == "hold" else brought).append(offset)
            assert arrive(queue, offset, hold=kind == "hold")[0] == queue, "reading again changes nothing"
        elif kind == "release":
            queue, actions = release_next(queue, offset)
        elif queue.in_flight >= 0:
            settled += [queue.in_flight] if kind == "settle" else []
            released = released if kind == "settle" else released[:-1]
            queue, actions = settle(
                queue, offset, queue.in_flight, "parked" if kind == "return" else "delivered", block=True
            )
        else:
            continue
        released += [action.offset for action in actions if isinstance(action, ReleaseNext)]
        assert len(released) - len(settled) == (queue.in_flight >= 0), "one at a time"
        assert queue.held == len(fresh), "no fresh one leaves"
        assert before.applied <= queue.applied
    end = 100
    queue, actions = release_all(queue, end)
    while True:
        released += [action.offset for action in actions if isinstance(action, ReleaseNext)]
        if queue.in_flight < 0:
            break
        end += 1
        queue, actions = settle(queue, end, queue.in_flight, "delivered", block=True)
    assert released == [*brought, *fresh] and is_idle(queue)
