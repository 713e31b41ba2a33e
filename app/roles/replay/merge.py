"""Order records: parked deliveries oldest first, and records of several partitions by timestamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from app.core.records.record import ConsumedRecord

#: records that may be read ahead to find older ones, and their bytes
_LOOK_AHEAD = 2000
_LOOK_AHEAD_BYTES = 16 * 1024 * 1024


class OldestFirstQueue:
    """Parked deliveries of one partition of deliveries.dead, oldest first.

    With `as_written` they stay in the order of the log: the sequencer has parked them in sequence.
    """

    def __init__(
        self,
        start: int,
        capacity: int = _LOOK_AHEAD,
        capacity_bytes: int = _LOOK_AHEAD_BYTES,
        *,
        as_written: bool = False,
    ) -> None:
        self._as_written = as_written
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        #: (accepted-at, sequence, offset): the sequence orders events of the same millisecond
        self._heap: list[tuple[int, int, int]] = []
        #: offset → record that is not done; offsets ascend
        self._open: dict[int, ConsumedRecord] = {}
        self._taken: set[int] = set()
        self._bytes = 0
        #: records taken since the lowest one began to wait
        self._passed = 0
        #: the offset up to which the partition was read
        self.position = start

    @property
    def full(self) -> bool:
        """Whether nothing more should be read now."""
        return len(self._open) >= self._capacity or self._bytes >= self._capacity_bytes

    @property
    def waiting(self) -> bool:
        """Whether there is a record to take."""
        return len(self._taken) < len(self._open)

    @property
    def low(self) -> int:
        """The lowest offset that is not done."""
        return next(iter(self._open), self.position)

    def add(self, record: ConsumedRecord) -> None:
        """Add a record; records are added in the order of their offsets."""
        named = {} if self._as_written else dict(record.headers)
        self._open[record.offset] = record
        self._bytes += len(record.value or b"")
        heappush(self._heap, (_number(named, "accepted-at"), _number(named, "sequence"), record.offset))

    def advance_to(self, position: int) -> None:
        """Note that the partition was read up to an offset."""
        self.position = max(self.position, position)

    def take(self, most: int) -> list[ConsumedRecord]:
        """Take the oldest records, at most `most`.

        The lowest record may be newer than all behind it, if a producer's clock is wrong. After so many others as the
        queue has room for it is taken nevertheless: until then it holds back the progress, and a crash would repeat
        everything above it.
        """
        taken: list[ConsumedRecord] = []
        while len(taken) < most and self.waiting:
            lowest = next(iter(self._open))
            offset = lowest if self._passed >= self._capacity and lowest not in self._taken else heappop(self._heap)[2]
            if offset not in self._open or offset in self._taken:
                continue  # taken already, as the lowest one
            self._passed = 0 if offset == lowest else self._passed + 1
            self._taken.add(offset)
            taken.append(self._open[offset])
        return taken

    def done(self, record: ConsumedRecord) -> None:
        """Note that a record has been appended and acknowledged."""
        self._bytes -= len(self._open.pop(record.offset).value or b"")
        self._taken.discard(record.offset)


class TimestampMerge:
    """Ranges of several partitions, merged by timestamp; the order within a partition does not change."""

    def __init__(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        self._ends = ends
        self._buffers: dict[int, deque[ConsumedRecord]] = {partition: deque() for partition in begins}
        #: partition → the offset up to which it was read
        self._read = dict(begins)
        self._heads: list[tuple[int, int]] = []

    def partitions_to_read(self) -> list[int]:
        """The partitions of which records must be added before the next `take`."""
        return [each for each, buffer in self._buffers.items() if not buffer and self._read[each] < self._ends[each]]

    def add(self, partition: int, records: Iterable[ConsumedRecord], position: int) -> None:
        """Add the records read from a partition, and the offset at which its reader is now."""
        buffer = self._buffers[partition]
        buffer.extend(record for record in records if record.offset < self._ends[partition])
        self._read[partition] = min(position, self._ends[partition])
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))

    def take(self) -> ConsumedRecord | None:
        """The next record; None at the end. `partitions_to_read` must be empty."""
        if not self._heads:
            return None
        partition = heappop(self._heads)[1]
        buffer = self._buffers[partition]
        record = buffer.popleft()
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))
        return record

    def positions(self) -> dict[int, int]:
        """For each partition, the lowest offset that was not taken."""
        return {
            partition: buffer[0].offset if buffer else self._read[partition]
            for partition, buffer in self._buffers.items()
        }


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = headers.get(name, b"")
    return int(text) if text is not None and text.isdigit() and len(text) <= 19 else 0
