"""Lines: one delivery at a time, in order, nothing lost, whatever is read again after a crash."""

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
    go_on,
    is_idle,
    let_go,
    put_aside,
    retreat,
    settle,
    skip,
)

EMPTY = KeyQueue()


def run(
    records: list[tuple[Any, ...]], line: KeyQueue = EMPTY, *, block: bool = False
) -> tuple[KeyQueue, list[list[Any]]]:
    """Apply (offset, kind, …) records; the line, and the orders of each."""
    given_orders = []
    for offset, kind, *rest in records:
        match kind:
            case "arrive":
                line, orders = arrive(line, offset)
            case "settle":
                line, orders = settle(line, offset, *rest, block=block)
            case "skip":
                line, orders = skip(line, offset)
            case _:
                line, orders = drop(line, offset)
        given_orders.append(orders)
    return line, given_orders


def test_the_first_goes_out_and_the_others_wait_for_it() -> None:
    line, orders = run([(0, "arrive"), (1, "arrive"), (2, "arrive"), (3, "settle", 0, "delivered")])
    assert orders == [
        [StoreRecord(0), ReleaseNext(0)],
        [StoreRecord(1)],
        [StoreRecord(2)],
        [DropRecord(0), ReleaseNext(1)],
    ]
    assert (line.flying, line.waiting) == (1, (2,))


def test_a_settlement_of_something_else_says_nothing() -> None:
    line, orders = run([(0, "arrive"), (1, "arrive"), (2, "settle", 1, "delivered"), (3, "settle", 7, "dead")])
    assert orders[2:] == [[], []]
    assert line.flying == 0


def test_a_dead_one_blocks_until_it_is_skipped() -> None:
    records = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "arrive"), (4, "skip")]
    line, orders = run(records, block=True)
    assert orders[2:] == [[], [StoreRecord(3)], [DropRecord(0), ReleaseNext(1)]]
    assert (line.blocked, line.flying, line.waiting) == (-1, 1, (3,))


def test_a_dead_one_is_passed_over_where_the_endpoint_wants_it() -> None:
    _, orders = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead")], block=False)
    assert orders[2] == [DropRecord(0), ReleaseNext(1)]


def test_what_is_dropped_is_given_up_and_the_line_goes_on() -> None:
    records = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "drop"), (4, "arrive")]
    line, orders = run(records, block=True)
    assert orders[3:] == [[DeadLetter(1, "ordering_dropped"), DropRecord(0)], [StoreRecord(4), ReleaseNext(4)]]
    assert line.flying == 4


def test_a_full_line_gives_up_what_comes() -> None:
    line = KeyQueue(applied=5, flying=0, waiting=(1, 2, 3))
    assert arrive(line, 6, limit=3)[1] == [DeadLetter(6, "ordering_limit")]


@given(st.lists(st.sampled_from(["arrive", "settle"]), max_size=40), st.data())
def test_in_order_one_at_a_time_also_when_records_are_read_again(kinds: list[str], data: st.DataObject) -> None:
    line, offset, released, settled = KeyQueue(), 0, [], []
    log: list[tuple[Any, ...]] = []
    arrived = 0
    for kind in kinds:
        if kind == "settle" and line.flying < 0:
            continue
        record = (offset, "arrive") if kind == "arrive" else (offset, "settle", line.flying, "delivered")
        arrived += kind == "arrive"
        log.append(record)
        if kind == "settle":
            settled.append(line.flying)
        line, (orders,) = run([record], line)
        released += [order.offset for order in orders if isinstance(order, ReleaseNext)]
        offset += 1
        if data.draw(st.booleans()):  # a crash: some of the log is read again
            begin = data.draw(st.integers(0, len(log)))
            again, repeated = run(log[begin:], line)
            assert again == line, "reading again changes nothing"
            for orders in repeated:
                assert not [order for order in orders if isinstance(order, ReleaseNext)]
                assert all(order == ReleaseAgain(line.flying) for order in orders if isinstance(order, ReleaseAgain))
    assert released == sorted(set(released)), "in order, each once"
    assert len(released) - len(settled) in (0, 1), "one at a time"
    assert len(released) + len(line.waiting) == arrived
    assert is_idle(line) == (len(settled) == arrived)


def test_what_is_in_the_midst_of_its_retries_is_not_sent_again_for_a_follower_that_is_read_again() -> None:
    log: list[tuple[Any, ...]] = [
        (0, "arrive"),
        (1, "arrive"),
        (2, "arrive"),
        (3, "settle", 0, "delivered"),
        (4, "arrive"),
    ]
    line, _ = run(log)
    assert line.flying == 1
    _, orders = run(log[4:], line)
    assert orders == [[StoreRecord(4)]]
    _, orders = run(log[3:], line)
    assert orders == [[ReleaseAgain(1)], [StoreRecord(4)]], (
        "the record that let it go asks: the release may not have been written"
    )


def test_skipping_also_gives_up_on_what_never_comes_back() -> None:
    line, orders = run([(0, "arrive"), (1, "arrive"), (2, "skip"), (3, "settle", 0, "delivered")])
    assert orders[2:] == [[DropRecord(0), ReleaseNext(1)], []]
    assert (line.flying, line.waiting) == (1, ())


def test_a_dead_one_that_is_retried_with_success_unblocks_its_line() -> None:
    dead: list[tuple[Any, ...]] = [(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead")]
    for outcome in ("delivered", "cancelled"):
        line, orders = run([*dead, (3, "settle", 0, outcome)], block=True)
        assert (line.flying, line.blocked, orders[-1]) == (1, -1, [DropRecord(0), ReleaseNext(1)])
    line, orders = run([*dead, (3, "settle", 0, "dead")], block=True)
    assert (line.blocked, orders[-1]) == (0, []), "dead again"


def test_what_comes_back_is_the_head_of_its_line_again_and_nothing_leaves_before_it() -> None:
    line, orders = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "parked"), (3, "arrive")])
    assert (orders[2:], line.waiting, line.flying) == ([[], [StoreRecord(3)]], (0, 1, 3), -1)
    line, let = go_on(line, 4)
    assert (line.flying, let) == (0, [ReleaseNext(0)])
    assert go_on(line, 4) == (line, [ReleaseAgain(0)]), "read again: the release may not have been written"
    assert go_on(line, 5) == (line, []), "it is under way"
    line, orders = run([(6, "settle", 0, "delivered")], line)
    assert orders == [[DropRecord(0), ReleaseNext(1)]]


def test_a_dead_one_that_is_retried_in_a_pause_is_the_head_of_its_line_again() -> None:
    line, _ = run([(0, "arrive"), (1, "arrive"), (2, "settle", 0, "dead"), (3, "settle", 0, "parked")], block=True)
    assert (line.blocked, line.waiting) == (-1, (0, 1))


def test_what_is_put_aside_never_enters_the_line_and_is_given_up_once() -> None:
    line, orders = put_aside(KeyQueue(), 3)
    assert (orders, line.applied, is_idle(line)) == ([DeadLetter(3, "paused")], 3, True)
    assert put_aside(line, 3) == (line, [])


def test_those_held_retreat_in_their_order_and_leave_the_others() -> None:
    line, _ = run([(0, "arrive"), (1, "arrive")])
    for offset in (2, 3):
        line, _ = arrive(line, offset, hold=True)
    line, orders = retreat(line)
    assert orders == [DeadLetter(2, "paused"), DeadLetter(3, "paused")]
    assert (line.waiting, line.held, retreat(line)) == ((1,), 0, (line, []))


def test_dropping_a_line_drops_those_held_too() -> None:
    line, _ = arrive(KeyQueue(), 0, hold=True)
    line, orders = drop(line, 1)
    assert (orders, is_idle(line), line.held) == ([DeadLetter(0, "ordering_dropped")], True, 0)


def test_a_line_has_room_for_a_bounded_number_of_those_held() -> None:
    line = KeyQueue(waiting=tuple(range(MAX_WAITING)), held=MAX_WAITING, applied=MAX_WAITING - 1)
    for hold in (True, False):
        _, orders = arrive(line, MAX_WAITING, hold=hold)
        assert orders == (
            [DeadLetter(MAX_WAITING, "ordering_limit")]
            if hold
            else [StoreRecord(MAX_WAITING), ReleaseNext(MAX_WAITING)]
        )


@given(st.data())
def test_those_held_leave_behind_all_others_each_once_whatever_is_read_again(data: st.DataObject) -> None:
    """A resume brings some while fresh ones are held; then they are let go."""
    line, brought, fresh, released, settled = KeyQueue(), list[int](), list[int](), list[int](), list[int]()
    before = line
    for offset in range(data.draw(st.integers(1, 30))):
        before, kind = line, data.draw(st.sampled_from(("bring", "hold", "settle", "come back", "go on")))
        if kind in ("bring", "hold"):
            line, orders = arrive(line, offset, hold=kind == "hold")
            (fresh if kind == "hold" else brought).append(offset)
            assert arrive(line, offset, hold=kind == "hold")[0] == line, "reading again changes nothing"
        elif kind == "go on":
            line, orders = go_on(line, offset)
        elif line.flying >= 0:
            settled += [line.flying] if kind == "settle" else []
            released = released if kind == "settle" else released[:-1]
            line, orders = settle(
                line, offset, line.flying, "parked" if kind == "come back" else "delivered", block=True
            )
        else:
            continue
        released += [order.offset for order in orders if isinstance(order, ReleaseNext)]
        assert len(released) - len(settled) == (line.flying >= 0), "one at a time"
        assert line.held == len(fresh), "no fresh one leaves"
        assert before.applied <= line.applied
    end = 100
    line, orders = let_go(line, end)
    while True:
        released += [order.offset for order in orders if isinstance(order, ReleaseNext)]
        if line.flying < 0:
            break
        end += 1
        line, orders = settle(line, end, line.flying, "delivered", block=True)
    assert released == [*brought, *fresh] and is_idle(line)
