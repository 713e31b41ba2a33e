"""Parked deliveries come oldest first, and partitions are merged by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.roles.replay.merge import OldestFirstQueue, TimestampMerge
from tests.fakes.log import MemoryRecord


def record(offset: int, timestamp: int = 0, partition: int = 0, value: bytes = b"v", **headers: int) -> MemoryRecord:
    named = [(name.replace("_", "-"), b"%d" % number) for name, number in headers.items()]
    return MemoryRecord("topic", partition, offset, timestamp, b"ep", value, named)


def test_the_oldest_come_first_and_the_progress_is_the_lowest_that_is_not_done() -> None:
    queue = OldestFirstQueue(10)
    for offset, accepted in ((10, 500), (12, 600), (15, 100), (16, 500)):
        queue.add(record(offset, accepted_at=accepted, sequence=3 if offset == 10 else 2))
    queue.advance_to(17)
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


def test_a_record_from_the_future_does_not_stop_the_progress_for_ever() -> None:
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
            queue.advance_to(offset)
        for each in queue.take(most):
            queue.done(each)
            seen.append(each.offset)
        assert queue.low <= min(set(range(len(accepted))) - set(seen), default=len(accepted))
    assert sorted(seen) == list(range(len(accepted))) and queue.low == len(accepted)


def test_ranges_are_merged_by_time_and_each_partition_stays_in_order() -> None:
    merge = TimestampMerge({0: 0, 1: 5, 2: 3}, {0: 3, 1: 7, 2: 3})
    assert merge.partitions_to_read() == [0, 1], "the third is empty"
    merge.add(0, [record(0, 10), record(1, 5)], 2)
    assert merge.partitions_to_read() == [1]
    merge.add(1, [record(5, 7, 1), record(6, 20, 1), record(7, 1, 1)], 8)
    taken = []
    while not merge.partitions_to_read():
        each = merge.take()
        assert each is not None
        taken.append((each.partition, each.offset))
    assert taken == [(1, 5), (0, 0), (0, 1)]
    assert merge.positions() == {0: 2, 1: 6, 2: 3}
    merge.add(0, [], 2)  # the broker is away
    assert merge.partitions_to_read() == [0]
    merge.add(0, [], 3)  # a mark of a transaction
    last = merge.take()
    assert last is not None and last.offset == 6
    assert merge.take() is None and merge.positions() == {0: 3, 1: 7, 2: 3}
