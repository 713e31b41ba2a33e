"""Merge partitions by timestamp, oldest record first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from app.core.records.record import ConsumedRecord

#: records that may wait for older ones, and their bytes
_LOOK_AHEAD = 2000
_LOOK_AHEAD_BYTES = 16 * 1024 * 1024


class OldestFirstQueue:
    """Records of one partition of deliveries.dead, handed out oldest first.

    `as_written`: in their own order, whatever their times are. The sequencer has put them there in sequence.
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
        #: (accepted, sequence, offset): the sequence tells apart what was accepted in the same millisecond
        self._heap: list[tuple[int, int, int]] = []
        #: what is not done yet, by offset, ascending
        self._open: dict[int, ConsumedRecord] = {}
        self._taken: set[int] = set()
        self._bytes = 0
        #: handed out since the lowest one has been waiting
        self._passed = 0
        #: the offset up to which the partition was read
        self.position = start

    @property
    def full(self) -> bool:
        """Nothing more should be read now."""
        return len(self._open) >= self._capacity or self._bytes >= self._capacity_bytes

    @property
    def waiting(self) -> bool:
        """There is something to hand out."""
        return len(self._taken) < len(self._open)

    @property
    def low(self) -> int:
        """The lowest offset that is not done."""
        return next(iter(self._open), self.position)

    def add(self, record: ConsumedRecord) -> None:
        """A record that waits; records come in the order of their offsets."""
        named = {} if self._as_written else dict(record.headers)
        self._open[record.offset] = record
        self._bytes += len(record.value or b"")
        heappush(self._heap, (_number(named, "accepted-at"), _number(named, "sequence"), record.offset))

    def moved(self, position: int) -> None:
        """The partition was read up to there."""
        self.position = max(self.position, position)

    def take(self, most: int) -> list[ConsumedRecord]:
        """The oldest that were not taken yet.

        One that is newer than all that come after it (a producer's clock is wrong) is passed over so many times, no
        more: it holds the progress back, and a crash would repeat everything above it.
        """
        taken: list[ConsumedRecord] = []
        while len(taken) < most and self.waiting:
            lowest = next(iter(self._open))
            offset = lowest if self._passed >= self._capacity and lowest not in self._taken else heappop(self._heap)[2]
            if offset not in self._open or offset in self._taken:
                continue  # it was taken before its turn
            self._passed = 0 if offset == lowest else self._passed + 1
            self._taken.add(offset)
            taken.append(self._open[offset])
        return taken

    def done(self, record: ConsumedRecord) -> None:
        """It has been appended and acknowledged."""
        self._bytes -= len(self._open.pop(record.offset).value or b"")
        self._taken.discard(record.offset)


class TimestampMerge:
    """Stretches of several partitions, merged by the records' timestamps; a partition's own order is kept."""

    def __init__(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        self._ends = ends
        self._buffers: dict[int, deque[ConsumedRecord]] = {partition: deque() for partition in begins}
        #: how far each partition was read
        self._read = dict(begins)
        self._heads: list[tuple[int, int]] = []

    def hungry(self) -> list[int]:
        """The partitions that must be read before the next record is known."""
        return [each for each, buffer in self._buffers.items() if not buffer and self._read[each] < self._ends[each]]

    def feed(self, partition: int, records: Iterable[ConsumedRecord], position: int) -> None:
        """What was read of a hungry partition, and where its reading stands now."""
        buffer = self._buffers[partition]
        buffer.extend(record for record in records if record.offset < self._ends[partition])
        self._read[partition] = min(position, self._ends[partition])
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))

    def take(self) -> ConsumedRecord | None:
        """The next record (no partition may be hungry); None: that was all."""
        if not self._heads:
            return None
        partition = heappop(self._heads)[1]
        buffer = self._buffers[partition]
        record = buffer.popleft()
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))
        return record

    def positions(self) -> dict[int, int]:
        """For each partition the lowest offset that was not taken."""
        return {
            partition: buffer[0].offset if buffer else self._read[partition]
            for partition, buffer in self._buffers.items()
        }


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = headers.get(name, b"")
    return int(text) if text is not None and text.isdigit() and len(text) <= 19 else 0
