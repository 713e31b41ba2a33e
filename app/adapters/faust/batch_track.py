"""Which batches of a partition are unfinished: the offset that may be committed, and whether to read more."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

#: unfinished records, and bytes of their events, at which reading of one partition pauses
_MOST_RECORDS = 4000
_MOST_BYTES = 4 * 1024 * 1024
#: unfinished bytes of all partitions together; beyond that only partitions without unfinished batches are read
_MOST_BYTES_IN_ALL = 64 * 1024 * 1024

Place = TypeVar("Place", bound=Hashable)


class _Open:
    __slots__ = ("low", "records", "size")

    def __init__(self, low: int, records: int, size: int) -> None:
        self.low, self.records, self.size = low, records, size


class BatchTrack:
    """The batches of one partition that were handed out, and those of them that are unfinished."""

    __slots__ = ("_open", "busy", "bytes", "moves", "next", "records")

    def __init__(self) -> None:
        #: the offset after the last one handed out; None: nothing yet
        self.next: int | None = None
        #: totals of the unfinished batches
        self.records = self.bytes = 0
        #: parts that were begun and have not ended
        self.busy = 0
        #: parts that have ended, for the watchdog: one event may have thousands
        self.moves = 0
        #: unfinished batches by their last offset, each with its lowest offset that is not done
        self._open: dict[int, _Open] = {}

    def delivered(self, first: int, last: int, records: int = 1, size: int = 0) -> None:
        """A batch was handed out. One that begins below `next` shows that reading was reset; older batches are void."""
        if self.next is not None and first < self.next:
            self._open.clear()
            self.records = self.bytes = self.busy = 0
        self._open[last] = _Open(first, records, size)
        self.records += records
        self.bytes += size
        self.next = last + 1

    def read_to(self, position: int) -> None:
        """The consumer has read up to `position`: records below were handed out, the rest are transaction markers."""
        if not self._open and (self.next is None or position > self.next):
            self.next = position

    def begin(self) -> None:
        """One more part of a batch has outputs that are not acknowledged yet."""
        self.busy += 1

    def done(self, last: int, reached: int) -> None:
        """A part of the batch that ends with `last` has ended, and everything before `reached` is done.

        Batches of an earlier assignment are ignored.
        """
        batch = self._open.get(last)
        if batch is None:
            return
        self.busy = max(0, self.busy - 1)
        self.moves += 1
        batch.low = max(batch.low, reached)
        if reached > last:
            del self._open[last]
            self.records -= batch.records
            self.bytes -= batch.size

    def lowest(self) -> int | None:
        """The lowest unfinished offset; None if all batches are finished."""
        return min(batch.low for batch in self._open.values()) if self._open else None

    def committable(self) -> int | None:
        """The offset to commit: every smaller one is finished."""
        low = self.lowest()
        return self.next if low is None else low


def backlogged(tracks: Mapping[Place, BatchTrack]) -> set[Place]:
    """The partitions that must not be read until batches are finished."""
    crowded = sum(track.bytes for track in tracks.values()) >= _MOST_BYTES_IN_ALL
    return {
        place
        for place, track in tracks.items()
        if track.records >= _MOST_RECORDS or track.bytes >= _MOST_BYTES or (crowded and track.records)
    }
