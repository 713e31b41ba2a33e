"""A set of offsets as runs: its cost grows with the number of gaps, not of offsets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Runs:
    """Offsets as ascending runs that neither touch nor overlap."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for offset in offsets:
            self.add(offset, offset + 1)

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._starts, offset) - 1
        return at >= 0 and offset < self._stops[at]

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The runs: first offset, and the offset after the last one."""
        return zip(self._starts, self._stops, strict=True)

    def add(self, start: int, stop: int) -> None:
        """Add all offsets from `start` to `stop`, excluding `stop`."""
        if start >= stop:
            return
        first = bisect_right(self._starts, start)
        if first and self._stops[first - 1] >= start:
            first -= 1
            start = self._starts[first]
        last = first
        while last < len(self._starts) and self._starts[last] <= stop:
            stop = max(stop, self._stops[last])
            last += 1
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def end_of(self, offset: int) -> int:
        """The offset after the run that contains `offset`; `offset` itself if none does."""
        at = bisect_right(self._starts, offset) - 1
        return max(offset, self._stops[at]) if at >= 0 else offset

    def forget_below(self, offset: int) -> None:
        """Remove every smaller offset."""
        gone = bisect_right(self._stops, offset)
        del self._starts[:gone], self._stops[:gone]
        if self._starts and self._starts[0] < offset:
            self._starts[0] = offset
