"""The delay ladder in one process: which waiting record is released, held or handed down, and when to look again.

Rules of this file
- A record enters the longest rung that is not longer than its wait, so within a rung the time at which each record has
  to be looked at (appended + rung) is the order of the log: only the head of each partition matters, and a million
  records behind it cost nothing.
- Looked at, a record is due and released; or due soon and held in memory until its own due time; or handed to a
  smaller rung. Any due time is such a walk down.
- The shortest rung is read at once: whatever is in it is due within the next rung's length.

    append ─▶ [rung: wait at head] ─▶ due?      release
                                   ─▶ due soon?  held ─▶ release
                                   ─▶ else       a smaller rung
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import msgspec

from app.core.offsets.partitions import PartitionId

T = TypeVar("T")

#: a record that is due within that time is held rather than handed down
HOLD_MS = 30_000


class ReleaseDue(msgspec.Struct, Generic[T], frozen=True):
    """Its time has come: back to deliveries."""

    item: T


class MoveDown(msgspec.Struct, Generic[T], frozen=True):
    """Put it into a smaller rung; it is due in `wait_s`."""

    item: T
    wait_s: float


class Ladder(Generic[T]):
    """All rungs' partitions of one process. `T` is opaque."""

    def __init__(self, *, capacity: int, capacity_bytes: int) -> None:
        """The records, and the bytes of their values, held in memory at most (beyond the unread heads)."""
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        #: per partition, in the order of the log: (look at, due, item, size)
        self._queues: dict[PartitionId, deque[tuple[int, int, T, int]]] = {}
        #: (due, serial, item, size)
        self._held: list[tuple[int, int, T, int]] = []
        self._held_bytes = 0
        self._serial = 0

    def add(self, place: PartitionId, item: T, *, appended_ms: int, due_ms: int, rung_ms: int, size: int) -> None:
        """A record was read. `rung_ms` 0: the shortest rung, to be looked at now."""
        look_at = min(due_ms, appended_ms + rung_ms) if rung_ms else 0
        self._queues.setdefault(place, deque()).append((look_at, due_ms, item, size))

    def step(self, now_ms: int) -> list[ReleaseDue[T] | MoveDown[T]]:
        """Everything that has to happen now."""
        orders: list[ReleaseDue[T] | MoveDown[T]] = []
        for queue in self._queues.values():
            while queue and queue[0][0] <= now_ms:
                order = self._look(now_ms, *queue[0][1:])
                if order is None:
                    break
                queue.popleft()
                orders += order
        while self._held and self._held[0][0] <= now_ms:
            _, _, item, size = heappop(self._held)
            self._held_bytes -= size
            orders.append(ReleaseDue(item))
        return orders

    def _look(self, now_ms: int, due_ms: int, item: T, size: int) -> list[ReleaseDue[T] | MoveDown[T]] | None:
        """What to do with a head; None: it stays (memory is full)."""
        if due_ms <= now_ms:
            return [ReleaseDue(item)]
        if due_ms - now_ms > HOLD_MS:
            return [MoveDown(item, (due_ms - now_ms) / 1000)]
        if self._full():
            return None
        self._serial += 1
        self._held_bytes += size
        heappush(self._held, (due_ms, self._serial, item, size))
        return []

    def next_ms(self) -> int | None:
        """When `step` has to be called next; None: nothing waits."""
        full = self._full()  # without room in memory, a head is left where it is until it is due
        times = [queue[0][1] if full else queue[0][0] for queue in self._queues.values() if queue]
        if self._held:
            times.append(self._held[0][0])
        return min(times, default=None)

    def reading(self, place: PartitionId) -> bool:
        """Whether more of that partition should be read: nothing of it waits to be looked at."""
        return not self._queues.get(place)

    def forget(self, places: set[PartitionId], of: Callable[[T], PartitionId]) -> None:
        """These partitions were revoked."""
        for place in places:
            self._queues.pop(place, None)
        self._held = [entry for entry in self._held if of(entry[2]) not in places]
        self._held.sort()
        self._held_bytes = sum(entry[3] for entry in self._held)

    def _full(self) -> bool:
        return len(self._held) >= self._capacity or self._held_bytes >= self._capacity_bytes

    def oldest_due_ms(self, of: Callable[[T], PartitionId]) -> dict[str, int]:
        """For each topic with something in memory, the due time of what is next there."""
        dues: dict[str, int] = {}
        for (topic, _), queue in self._queues.items():
            if queue:
                dues[topic] = min(queue[0][1], dues.get(topic, queue[0][1]))
        if self._held:
            topic = of(self._held[0][2])[0]
            dues[topic] = min(self._held[0][0], dues.get(topic, self._held[0][0]))
        return dues

    def waiting(self, of: Callable[[T], PartitionId]) -> dict[PartitionId, tuple[int, int]]:
        """For each partition with something in memory, how much it is, and when something of it has to happen next."""
        full = self._full()
        found = {
            place: (len(queue), queue[0][1] if full else queue[0][0]) for place, queue in self._queues.items() if queue
        }
        for due_ms, _, item, _ in self._held:
            number, next_ms = found.get(of(item), (0, due_ms))
            found[of(item)] = (number + 1, min(next_ms, due_ms))
        return found

    @property
    def held(self) -> int:
        """Records held in memory until their due time."""
        return len(self._held)
