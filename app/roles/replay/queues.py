"""What a replay hands out next: a queue for each endpoint, so that a slow one does not hold back the others.

Rules of this file
- An endpoint's own order is kept.
- The progress is the lowest record of each partition of which something waits: a crash goes on there.
- What was handed out above that is remembered from turn to turn, and lost in a crash: then it goes out again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from app.roles.replay.eligibility import ReplayRoute

T = TypeVar("T")
#: partition and offset of a record of events.raw
RecordPosition = tuple[int, int]
#: deliveries that may wait for slow endpoints, and their bytes
_CAPACITY = 2000
_CAPACITY_BYTES = 16 * 1024 * 1024
#: so many of a slow endpoint's go past its window when the others would have to wait for it
_OVERFLOW = 100
_REMEMBERED = 4 * _CAPACITY


class QueuedDelivery(NamedTuple, Generic[T]):
    """One delivery that waits."""

    spot: RecordPosition
    endpoint_id: str
    item: T
    size: int


class EndpointQueues(Generic[T]):
    """The deliveries of one replay that wait for their endpoints."""

    def __init__(self, capacity: int = _CAPACITY, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._lines: dict[str, deque[QueuedDelivery[T]]] = {}
        #: partition → offset → deliveries that are not done; offsets ascend
        self._open: dict[int, dict[int, int]] = {}
        #: what was handed out above the progress, and what became of it
        self._given: dict[tuple[RecordPosition, str], ReplayRoute] = {}
        self._seen: set[str] = set()
        self._bytes = 0
        self.waiting = 0

    def begin(self, done: Mapping[int, int]) -> None:
        """Reading begins again at `done`: what waits comes again, what was handed out above does not."""
        self._lines, self._open, self._bytes, self.waiting = {}, {}, 0, 0
        self._forget(done)

    @property
    def full(self) -> bool:
        """Nothing more should be read now."""
        return self.waiting >= self._capacity or self._bytes >= self._capacity_bytes

    def put(self, spot: RecordPosition, endpoint_id: str, item: T, size: int) -> None:
        """A delivery; records come in the order of their offsets."""
        if (spot, endpoint_id) in self._given:
            return
        partition, offset = spot
        counts = self._open.setdefault(partition, {})
        counts[offset] = counts.get(offset, 0) + 1
        self._lines.setdefault(endpoint_id, deque()).append(QueuedDelivery(spot, endpoint_id, item, size))
        self._seen.add(endpoint_id)
        self._bytes += size
        self.waiting += 1

    def take(self, most: int, free: Callable[[str], int]) -> list[QueuedDelivery[T]]:
        """As many as their endpoints take; each has to be reported as `done`."""
        taken: list[QueuedDelivery[T]] = []
        for endpoint_id in list(self._lines):
            if most > len(taken):
                taken += self._shift(endpoint_id, min(most - len(taken), free(endpoint_id)))
        for endpoint_id in {each.endpoint_id for each in taken}:  # whoever had its turn goes to the end
            if (line := self._lines.pop(endpoint_id, None)) is not None:
                self._lines[endpoint_id] = line
        return taken

    def overflow(self, most: int, stuck: Callable[[str], bool]) -> list[QueuedDelivery[T]]:
        """Where all that waits is for stuck endpoints: some of the longest queue, past its window.

        Dispatch defers what the endpoint cannot take. Nothing while there is only one endpoint: nobody waits for it.
        """
        if len(self._seen) < 2 or not self._lines or not all(map(stuck, self._lines)):
            return []
        return self._shift(max(self._lines, key=lambda each: len(self._lines[each])), min(most, _OVERFLOW))

    def done(self, waiting: QueuedDelivery[T], fate: ReplayRoute) -> None:
        """It has been handed out and acknowledged."""
        partition, offset = waiting.spot
        counts = self._open[partition]
        counts[offset] -= 1
        if not counts[offset]:
            del counts[offset]
        self.made(waiting.spot, waiting.endpoint_id, fate)

    def made(self, spot: RecordPosition, endpoint_id: str, fate: ReplayRoute) -> None:
        """It was handed out before an interruption."""
        self._given[spot, endpoint_id] = fate

    def above(self, done: Mapping[int, int]) -> Counter[ReplayRoute]:
        """What was handed out above `done`: it is not told as done, so that after a crash nothing is counted twice."""
        return Counter(fate for (spot, _), fate in self._given.items() if spot[1] >= done.get(spot[0], 0))

    def low(self, positions: Mapping[int, int]) -> dict[int, int]:
        """The lowest offset of each partition that is not done; the partitions were read up to `positions`."""
        found = {number: next(iter(self._open.get(number, ())), at) for number, at in positions.items()}
        if len(self._given) > _REMEMBERED:
            self._forget(found)
        return found

    def _shift(self, endpoint_id: str, number: int) -> list[QueuedDelivery[T]]:
        line = self._lines[endpoint_id]
        shifted = [line.popleft() for _ in range(min(max(0, number), len(line)))]
        self._bytes -= sum(each.size for each in shifted)
        self.waiting -= len(shifted)
        if not line:
            del self._lines[endpoint_id]
        return shifted

    def _forget(self, done: Mapping[int, int]) -> None:
        self._given = {each: fate for each, fate in self._given.items() if each[0][1] >= done.get(each[0][0], 0)}
