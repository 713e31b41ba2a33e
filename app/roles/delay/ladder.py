"""The delay ladder in one process: which waiting records are released, held or moved down, and when to check again.

Rules of this file
- A record enters the longest rung that is not longer than its wait. So within a rung the records are in the order of
  the time at which they must be checked (appended + rung). Only the head of each partition matters, and a million
  records behind it cost nothing.
- A record that is checked is released if it is due, held in memory until its due time if that is soon, and otherwise
  moved down to a shorter rung.
- The shortest rung is checked at once: all of it is due within the next rung's length.

    append ─▶ [rung: wait at head] ─▶ due?      release
                                   ─▶ due soon?  held ─▶ release
                                   ─▶ else       a shorter rung
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import msgspec

from app.core.offsets.partitions import PartitionId

T = TypeVar("T")

#: a record that is due within this time is held in memory instead of moved down
HOLD_MS = 30_000


class ReleaseDue(msgspec.Struct, Generic[T], frozen=True):
    """Append the due record to `deliveries`."""

    item: T


class MoveDown(msgspec.Struct, Generic[T], frozen=True):
    """Append the record to a shorter rung; it is due in `wait_s` seconds."""

    item: T
    wait_s: float


class Ladder(Generic[T]):
    """All rungs' partitions of one process. `T` is opaque."""

    def __init__(self, *, capacity: int, capacity_bytes: int) -> None:
        """`capacity` and `capacity_bytes` bound the records held in memory, beside the heads of partitions."""
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        #: partition → records in the order of the log: (check at, due, item, size)
        self._queues: dict[PartitionId, deque[tuple[int, int, T, int]]] = {}
        #: (due, serial, item, size)
        self._held: list[tuple[int, int, T, int]] = []
        self._held_bytes = 0
        self._serial = 0

    def add(self, place: PartitionId, item: T, *, appended_ms: int, due_ms: int, rung_ms: int, size: int) -> None:
        """Add a record that was read. `rung_ms` 0: the shortest rung, to be checked now."""
        check_at_ms = min(due_ms, appended_ms + rung_ms) if rung_ms else 0
        self._queues.setdefault(place, deque()).append((check_at_ms, due_ms, item, size))

    def step(self, now_ms: int) -> list[ReleaseDue[T] | MoveDown[T]]:
        """Everything to do now."""
        actions: list[ReleaseDue[T] | MoveDown[T]] = []
        for queue in self._queues.values():
            while queue and queue[0][0] <= now_ms:
                checked = self._check(now_ms, *queue[0][1:])
                if checked is None:
                    break
                queue.popleft()
                actions += checked
        while self._held and self._held[0][0] <= now_ms:
            _, _, item, size = heappop(self._held)
            self._held_bytes -= size
            actions.append(ReleaseDue(item))
        return actions

    def _check(self, now_ms: int, due_ms: int, item: T, size: int) -> list[ReleaseDue[T] | MoveDown[T]] | None:
        """What to do with the head of a partition; None: it stays, because memory is full."""
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
        """When to call `step` next, in ms since the epoch; None: nothing waits."""
        full = self._full()  # a head that cannot be held stays until it is due
        times = [queue[0][1] if full else queue[0][0] for queue in self._queues.values() if queue]
        if self._held:
            times.append(self._held[0][0])
        return min(times, default=None)

    def reading(self, place: PartitionId) -> bool:
        """Whether to read more of the partition: none of its records waits to be checked."""
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
        """For each topic with records in memory, the earliest due time of a next record."""
        dues: dict[str, int] = {}
        for (topic, _), queue in self._queues.items():
            if queue:
                dues[topic] = min(queue[0][1], dues.get(topic, queue[0][1]))
        if self._held:
            topic = of(self._held[0][2])[0]
            dues[topic] = min(self._held[0][0], dues.get(topic, self._held[0][0]))
        return dues

    def waiting(self, of: Callable[[T], PartitionId]) -> dict[PartitionId, tuple[int, int]]:
        """For each partition with records in memory: their number, and when to check or release the next one."""
        full = self._full()
        waiting = {
            place: (len(queue), queue[0][1] if full else queue[0][0]) for place, queue in self._queues.items() if queue
        }
        for due_ms, _, item, _ in self._held:
            number, next_ms = waiting.get(of(item), (0, due_ms))
            waiting[of(item)] = (number + 1, min(next_ms, due_ms))
        return waiting

    @property
    def held(self) -> int:
        """Records held in memory until their due time."""
        return len(self._held)
