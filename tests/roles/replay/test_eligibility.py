"""What a replay appends, in which order and at what pace."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint, EndpointStatus, Suspension
from app.core.model.replay import Replay
from app.core.records.dead_letter import is_parked, released
from app.roles.replay.eligibility import STALLED_S, parked_until, workable
from app.roles.replay.merge import OldestFirstQueue, TimestampMerge
from app.roles.replay.pacing import UnattemptedWindow, window_of
from tests.fakes.log import MemoryRecord


def endpoint(name: str = "ep", status: EndpointStatus = "active", **fields: Any) -> Endpoint:
    return Endpoint(
        id=name, tenant="t", mode="live", url="https://e.x", events=("*",), profile="standard", status=status, **fields
    )


def replay(name: str = "rpl", target: str = "ep", **fields: Any) -> Replay:
    known: dict[str, Any] = {"begin": {0: 0}, "end": {0: 9}, "created_at_ms": 100, **fields}
    return Replay(id=name, tenant="t", mode="live", endpoint_id=target, reason="resume", **known)


def record(offset: int, timestamp: int = 0, partition: int = 0, value: bytes = b"v", **headers: int) -> MemoryRecord:
    named = [(name.replace("_", "-"), b"%d" % number) for name, number in headers.items()]
    return MemoryRecord("topic", partition, offset, timestamp, b"ep", value, named)


# --- which -------------------------------------------------------------------------------------------------------


def test_the_oldest_replay_of_each_endpoint_that_is_active_or_gone_can_be_worked_on() -> None:
    directory = Directory()
    for each in (endpoint("a"), endpoint("b", "paused"), endpoint("c", "disabled")):
        directory.put_endpoint(each)
    for each_replay in (
        replay("a2", "a", created_at_ms=7),
        replay("a1", "a", created_at_ms=5, state="running"),
        replay("b", "b"),
        replay("c", "c"),
        replay("gone", "d"),
        replay("a0", "a", created_at_ms=1, state="done"),
        replay("x", "a", created_at_ms=2, state="cancelled"),
    ):
        directory.put_replay(each_replay)
    assert [each.id for each in workable(directory, ())] == ["a1", "gone"]
    assert [each.id for each in workable(directory, {"a1", "gone"})] == ["a2"]


def test_a_resume_ends_where_the_next_pause_began_to_put_aside() -> None:
    own = Suspension(kind="paused", since_ms=50, begin={0: 0}, end={0: 9}, dead_begin=3)
    job = replay(dead_begin=3)
    assert parked_until(endpoint(suspensions=(own,)), job) is None
    later = Suspension(kind="paused", since_ms=100, begin={0: 9}, dead_begin=8)
    assert parked_until(endpoint(suspensions=(own, later)), job) == 8
    earlier = Suspension(kind="disabled", since_ms=10, begin={0: 0}, end={0: 1}, dead_begin=1)
    assert parked_until(endpoint(suspensions=(earlier, own)), job) is None


def test_what_waits_for_a_resume_has_the_endpoints_key_and_the_reason_paused() -> None:
    parked = record(0)._replace(headers=[("reason", b"paused")])
    assert is_parked(parked, b"ep") and not is_parked(parked, b"ep2")
    assert not is_parked(parked._replace(headers=[("reason", b"exhausted")]), b"ep")


def test_a_delivery_that_goes_on_keeps_all_headers_but_those_of_its_end() -> None:
    stays = [("delivery-id", b"d"), ("attempts", b"3"), ("sequence", b"7"), ("replay-id", b"r"), ("traceparent", b"t")]
    ended = ["reason", "last-result", "last-status", "last-error", "died-at", "due-at", "registry-position"]
    assert released([*stays, *((name, b"x") for name in ended)], 12) == [*stays, ("registry-position", b"12")]


# --- at what pace -------------------------------------------------------------------------------------------------


def test_the_window_is_what_an_endpoint_takes_in_two_seconds_and_at_once() -> None:
    assert window_of(endpoint()) == 32
    assert window_of(endpoint(rate_limit=5.0)) == 10
    assert window_of(endpoint(rate_limit=0.1)) == 1
    assert window_of(endpoint(rate_limit=1000.0)) == 32
    assert window_of(endpoint(max_in_flight=4)) == 4
    assert window_of(endpoint(rate_limit=1.0, max_in_flight=4)) == 2


def test_a_window_opens_with_each_attempt_of_its_own_deliveries() -> None:
    window = UnattemptedWindow(0.0)
    window.sent("a", 0.0)
    window.sent("b", 0.0)
    assert window.free(2, 1.0) == 0
    assert not window.attempted("somebody else's", 1.0)
    assert window.attempted("a", 1.0) and not window.attempted("a", 1.0)
    assert (window.free(2, 1.0), window.free(1, 1.0)) == (1, 0)


def test_when_nothing_is_attempted_for_long_one_more_goes_and_memory_stays_bounded() -> None:
    window = UnattemptedWindow(0.0)
    for number in range(3):
        window.sent(str(number), 0.0)
    now_s = 0.0
    for number in range(3, 200):
        assert window.free(3, now_s + STALLED_S - 0.1) == 0
        now_s += STALLED_S
        assert window.free(3, now_s) == 1
        window.sent(str(number), now_s)
    assert [window.attempted(str(number), now_s) for number in range(195, 200)] == [False, False, True, True, True]


def test_who_has_not_attempted_anything_for_seconds_is_stuck() -> None:
    window = UnattemptedWindow(0.0)
    assert not window.stuck(100.0), "nothing is under way"
    window.sent("a", 100.0)
    assert not window.stuck(104.9) and window.stuck(105.0)
    window.sent("b", 105.0)
    assert window.stuck(105.0), "to be given more is no sign of life"
    window.attempted("a", 106.0)
    assert not window.stuck(110.0) and window.stuck(111.0)


# --- in which order -----------------------------------------------------------------------------------------------


def test_the_oldest_come_first_and_the_progress_is_the_lowest_that_is_not_done() -> None:
    queue = OldestFirstQueue(10)
    for offset, accepted in ((10, 500), (12, 600), (15, 100), (16, 500)):
        queue.add(record(offset, accepted_at=accepted, sequence=3 if offset == 10 else 2))
    queue.moved(17)
    first = queue.take(3)
    assert [each.offset for each in first] == [15, 16, 10], "the sequence decides within a millisecond"
    assert queue.low == 10 and queue.waiting
    queue.done(first[0])
    queue.done(first[2])
    assert queue.low == 12
    queue.done(queue.take(9)[0])
    assert (queue.low, queue.waiting) == (16, False)
    queue.done(first[1])
    assert queue.low == 17 and not queue.full


def test_look_ahead_is_bounded_by_records_and_by_bytes() -> None:
    queue = OldestFirstQueue(0, capacity=2, capacity_bytes=100)
    queue.add(record(0))
    assert not queue.full
    queue.add(record(1))
    assert queue.full
    queue = OldestFirstQueue(0, capacity=9, capacity_bytes=100)
    queue.add(record(0, value=bytes(100)))
    assert queue.full
    queue.done(queue.take(1)[0])
    assert not queue.full


def test_a_record_from_the_future_does_not_hold_the_progress_back_for_ever() -> None:
    queue = OldestFirstQueue(0, capacity=5)
    queue.add(record(0, accepted_at=10**15))
    taken = []
    for offset in range(1, 20):
        queue.add(record(offset, accepted_at=offset))
        (each,) = queue.take(1)
        queue.done(each)
        taken.append(each.offset)
    assert taken == [1, 2, 3, 4, 5, 0, *range(6, 19)]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 6), st.integers(1, 7))
def test_everything_is_handed_out_once(accepted: list[int], capacity: int, most: int) -> None:
    queue, offset, seen = OldestFirstQueue(0, capacity=capacity), 0, []
    while offset < len(accepted) or queue.waiting:
        while offset < len(accepted) and not queue.full:
            queue.add(record(offset, accepted_at=accepted[offset]))
            offset += 1
            queue.moved(offset)
        for each in queue.take(most):
            queue.done(each)
            seen.append(each.offset)
        assert queue.low <= min(set(range(len(accepted))) - set(seen), default=len(accepted))
    assert sorted(seen) == list(range(len(accepted))) and queue.low == len(accepted)


def test_stretches_are_merged_by_time_and_each_partition_keeps_its_order() -> None:
    merge = TimestampMerge({0: 0, 1: 5, 2: 3}, {0: 3, 1: 7, 2: 3})
    assert merge.hungry() == [0, 1], "the third is empty"
    merge.feed(0, [record(0, 10), record(1, 5)], 2)
    assert merge.hungry() == [1]
    merge.feed(1, [record(5, 7, 1), record(6, 20, 1), record(7, 1, 1)], 8)
    taken = []
    while not merge.hungry():
        each = merge.take()
        assert each is not None
        taken.append((each.partition, each.offset))
    assert taken == [(1, 5), (0, 0), (0, 1)]
    assert merge.positions() == {0: 2, 1: 6, 2: 3}
    merge.feed(0, [], 2)  # the broker is away
    assert merge.hungry() == [0]
    merge.feed(0, [], 3)  # a mark of a transaction
    last = merge.take()
    assert last is not None and last.offset == 6
    assert merge.take() is None and merge.positions() == {0: 3, 1: 7, 2: 3}
