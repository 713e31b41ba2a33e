"""The deliveries of a replay that wait: a queue for each endpoint, so that a slow one does not hold back the others.

Rules of this file
- The deliveries of one endpoint stay in their order.
- The progress is, for each partition, the lowest record of which a delivery waits: after a crash the next worker
  continues there.
- Deliveries that were handed out above the progress are remembered between two runs. A crash forgets them, and they are
  handed out again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from app.roles.replay.eligibility import ReplayRoute

T = TypeVar("T")
#: partition and offset of a record of events.raw
RecordPosition = tuple[int, int]
#: deliveries that may wait, and their bytes
_CAPACITY = 2000
_CAPACITY_BYTES = 16 * 1024 * 1024
#: so many deliveries of a stuck endpoint are appended beyond its window when others would have to wait for it
_OVERFLOW = 100
_REMEMBERED = 4 * _CAPACITY


class QueuedDelivery(NamedTuple, Generic[T]):
    """A delivery that waits."""

    position: RecordPosition
    endpoint_id: str
    item: T
    size: int


class EndpointQueues(Generic[T]):
    """The deliveries of one replay that wait for their endpoints."""

    def __init__(self, capacity: int = _CAPACITY, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._queues: dict[str, deque[QueuedDelivery[T]]] = {}
        #: partition → offset → deliveries that are not done; offsets ascend
        self._open: dict[int, dict[int, int]] = {}
        #: (record, endpoint) of deliveries handed out above the progress → their route
        self._handed_out: dict[tuple[RecordPosition, str], ReplayRoute] = {}
        self._seen: set[str] = set()
        self._bytes = 0
        self.waiting = 0

    def begin(self, done: Mapping[int, int]) -> None:
        """Start reading at `done`: waiting deliveries are added again, those handed out above it are not."""
        self._queues, self._open, self._bytes, self.waiting = {}, {}, 0, 0
        self._forget(done)

    @property
    def full(self) -> bool:
        """Whether nothing more should be read now."""
        return self.waiting >= self._capacity or self._bytes >= self._capacity_bytes

    def put(self, position: RecordPosition, endpoint_id: str, item: T, size: int) -> None:
        """Add a delivery, unless it was handed out; records are added in the order of their offsets."""
        if (position, endpoint_id) in self._handed_out:
            return
        partition, offset = position
        counts = self._open.setdefault(partition, {})
        counts[offset] = counts.get(offset, 0) + 1
        self._queues.setdefault(endpoint_id, deque()).append(QueuedDelivery(position, endpoint_id, item, size))
        self._seen.add(endpoint_id)
        self._bytes += size
        self.waiting += 1

    def take(self, most: int, free: Callable[[str], int]) -> list[QueuedDelivery[T]]:
        """Take at most `most` deliveries, of each endpoint as many as are `free`. Report each of them as `done`."""
        taken: list[QueuedDelivery[T]] = []
        for endpoint_id in list(self._queues):
            if most > len(taken):
                taken += self._shift(endpoint_id, min(most - len(taken), free(endpoint_id)))
        for endpoint_id in {each.endpoint_id for each in taken}:  # round robin: these endpoints go to the end
            if (queue := self._queues.pop(endpoint_id, None)) is not None:
                self._queues[endpoint_id] = queue
        return taken

    def overflow(self, most: int, stuck: Callable[[str], bool]) -> list[QueuedDelivery[T]]:
        """If all waiting deliveries are for stuck endpoints: take some of the longest queue, beyond its window.

        Dispatch defers what the endpoint cannot take. With a single endpoint nothing is taken, because no other one has
        to wait.
        """
        if len(self._seen) < 2 or not self._queues or not all(map(stuck, self._queues)):
            return []
        return self._shift(max(self._queues, key=lambda each: len(self._queues[each])), min(most, _OVERFLOW))

    def done(self, waiting: QueuedDelivery[T], route: ReplayRoute) -> None:
        """Note that a delivery has been handed out and acknowledged."""
        partition, offset = waiting.position
        counts = self._open[partition]
        counts[offset] -= 1
        if not counts[offset]:
            del counts[offset]
        self.add_handed_out(waiting.position, waiting.endpoint_id, route)

    def add_handed_out(self, position: RecordPosition, endpoint_id: str, route: ReplayRoute) -> None:
        """Note that a delivery was handed out, perhaps before an interruption."""
        self._handed_out[position, endpoint_id] = route

    def above(self, done: Mapping[int, int]) -> Counter[ReplayRoute]:
        """How many deliveries were handed out above `done`, by route.

        They are not reported yet, so that none is counted twice after a crash.
        """
        return Counter(
            route for (position, _), route in self._handed_out.items() if position[1] >= done.get(position[0], 0)
        )

    def low(self, positions: Mapping[int, int]) -> dict[int, int]:
        """For each partition, the lowest offset that is not done; the partitions were read up to `positions`."""
        lowest = {number: next(iter(self._open.get(number, ())), at) for number, at in positions.items()}
        if len(self._handed_out) > _REMEMBERED:
            self._forget(lowest)
        return lowest

    def _shift(self, endpoint_id: str, number: int) -> list[QueuedDelivery[T]]:
        queue = self._queues[endpoint_id]
        shifted = [queue.popleft() for _ in range(min(max(0, number), len(queue)))]
        self._bytes -= sum(each.size for each in shifted)
        self.waiting -= len(shifted)
        if not queue:
            del self._queues[endpoint_id]
        return shifted

    def _forget(self, done: Mapping[int, int]) -> None:
        self._handed_out = {
            each: route for each, route in self._handed_out.items() if each[0][1] >= done.get(each[0][0], 0)
        }
