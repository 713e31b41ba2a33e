"""Ordered deliveries in one worker: at most one of each ordering key goes on, and none that is proven settled.

Rules of this file (DESIGN guarantee 5)
- Deliveries are ordered by endpoint and ordering key. The sequencer releases those of a key one after the other, and
  marks each with the offset of the record that released it (`released`), which grows within a key. So a larger mark in
  the log proves that every delivery with a smaller one was settled, whatever copies of it still turn up: read again
  after a crash, or out of the delay ladder. These copies are *outdated*: they end without a request.
- With the same mark, more attempts prove that the copies with fewer were attempted.
- A delivery in progress (in its lane, or being sent) keeps the others of its key waiting. If its successor arrives
  while it is being sent, it is outdated, too: its failure has no retry.
- A partition that is *catching up* lets no delivery go before its records are read up to where they ended at its
  assignment: a delivery that was settled and not committed meets its successor before it is sent.
- A manual retry (a revision) goes beside the copy in progress that it replaces (core/supersession.py), and is outdated
  only with the delivery that it belongs to. A delivery without a mark (older versions) waits for its turn, and is never
  outdated.
- The marks of the keys that moved last are remembered beyond their last delivery in progress, also when their partition
  goes and comes back: what they prove stays true.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from app.core.model.delivery import Delivery
from app.core.offsets.partitions import OpenPartition

#: ordering keys with nothing in progress whose marks are remembered
REMEMBERED = 20_000
#: the attempts of a delivery that has ended
_ENDED = 2**62


class Work(Protocol):
    """A delivery that a worker has read."""

    delivery: Delivery

    @property
    def partition(self) -> OpenPartition: ...


W = TypeVar("W", bound=Work)
#: endpoint id and ordering key
OrderedKey = tuple[str, str]


class _KeyState(Generic[W]):
    __slots__ = ("arrival", "attempts", "in_progress", "mark", "waiting")

    def __init__(self) -> None:
        #: the largest mark, the arrival that has it, and how many attempts its copies prove
        self.mark = -1
        self.arrival = -1
        self.attempts = 0
        self.in_progress: list[W] = []
        self.waiting: deque[W] = deque()

    def is_outdated(self, delivery: Delivery) -> bool:
        mark = delivery.released
        if mark is None or mark > self.mark:
            return False
        return mark < self.mark or (not delivery.revision and delivery.attempts < self.attempts)

    def merge(self, delivery: Delivery) -> bool:
        """Merge what the delivery's mark and attempts prove. Returns whether that is new."""
        before, mark = (self.mark, self.attempts), delivery.released
        if mark is None or mark < self.mark:
            return False
        if mark > self.mark:
            self.mark, self.arrival, self.attempts = mark, delivery.arrival or 0, 0
        if not delivery.revision:
            self.attempts = max(self.attempts, delivery.attempts)
        return (self.mark, self.attempts) != before


class Step(NamedTuple, Generic[W]):
    """The effect of a change: the delivery to admit, and the outdated ones."""

    go: W | None
    outdated: list[W]


class OrderedDeliveries(Generic[W]):
    """The ordered deliveries of one worker, by ordering key."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._busy: dict[OrderedKey, _KeyState[W]] = {}
        self._resting: OrderedDict[OrderedKey, _KeyState[W]] = OrderedDict()

    def enter(self, work: W) -> Step[W]:
        """A delivery was read."""
        key = _key(work.delivery)
        state = self._busy.get(key) or self._resting.pop(key, None) or _KeyState()
        self._busy[key] = state
        work.delivery = delivery = _marked(work.delivery, state)
        if state.is_outdated(delivery):
            return self._rest(key, state, Step(None, [work]))
        outdated: list[W] = []
        if state.merge(delivery) and (outdated := [each for each in state.waiting if state.is_outdated(each.delivery)]):
            state.waiting = deque(each for each in state.waiting if each not in outdated)
        state.waiting.append(work)
        replaces = delivery.revision and any(each.delivery.id == delivery.id for each in state.in_progress)
        if replaces and not work.partition.catching_up:
            state.waiting.pop()
            state.in_progress.append(work)
            return Step(work, outdated)
        return self._next(key, state, outdated)

    def is_outdated(self, delivery: Delivery) -> bool:
        """Whether a later record has arrived that proves it settled."""
        state = self._busy.get(_key(delivery))
        return state is not None and state.is_outdated(delivery)

    def has_successor(self, delivery: Delivery) -> bool:
        """Whether another delivery of its key is released, so that it is more than a copy of the released one."""
        state, mark = self._of(delivery), delivery.released
        return state is not None and mark is not None and mark < state.mark

    def rescheduled(self, onward: Delivery) -> None:
        """Its next attempt is scheduled: copies of earlier attempts are outdated."""
        state = self._of(onward)
        if state is not None:
            state.merge(onward)

    def ended(self, delivery: Delivery) -> None:
        """It is settled for good."""
        state = self._of(delivery)
        if state is not None and delivery.released is not None and delivery.released == state.mark:
            state.attempts = _ENDED

    def leave(self, work: W) -> Step[W]:
        """It is no longer in progress."""
        key = _key(work.delivery)
        state = self._busy.get(key)
        if state is None:
            return Step(None, [])
        if work in state.in_progress:
            state.in_progress.remove(work)
        return self._next(key, state, [])

    def caught_up(self, partition: OpenPartition) -> list[Step[W]]:
        """The partition has caught up (`catching_up` is false by now): its waiting deliveries may go."""
        keys = [key for key, state in self._busy.items() if any(each.partition is partition for each in state.waiting)]
        return [self._next(key, self._busy[key], []) for key in keys if key in self._busy]

    def waiting_in(self, partition: OpenPartition) -> int:
        """How many deliveries of the partition wait."""
        return sum(1 for state in self._busy.values() for each in state.waiting if each.partition is partition)

    def _of(self, delivery: Delivery) -> _KeyState[W] | None:
        return self._busy.get(_key(delivery)) or self._resting.get(_key(delivery))

    def _next(self, key: OrderedKey, state: _KeyState[W], outdated: list[W]) -> Step[W]:
        while state.waiting and not state.in_progress:
            first = state.waiting[0]
            if first.partition.active and first.partition.catching_up and not state.is_outdated(first.delivery):
                break
            state.waiting.popleft()
            if not first.partition.active:
                continue  # the partition's next owner reads it
            if state.is_outdated(first.delivery):
                outdated.append(first)
                continue
            state.in_progress.append(first)
            return Step(first, outdated)
        return self._rest(key, state, Step(None, outdated))

    def _rest(self, key: OrderedKey, state: _KeyState[W], step: Step[W]) -> Step[W]:
        if not state.in_progress and not state.waiting:
            self._busy.pop(key, None)
            if state.mark >= 0:
                self._resting[key] = state
                self._resting.move_to_end(key)
                if len(self._resting) > self._remembered:
                    self._resting.popitem(last=False)
        return step


def is_ordered(delivery: Delivery) -> bool:
    """Whether the sequencer has released it, in the order of an ordering key."""
    return delivery.arrival is not None and delivery.ordering_key is not None


def _key(delivery: Delivery) -> OrderedKey:
    return delivery.endpoint_id, delivery.ordering_key or ""


def _marked(delivery: Delivery, state: _KeyState[W]) -> Delivery:
    """A manual retry of the released delivery gets its mark; of a delivery that has ended it gets none."""
    is_released = delivery.arrival == state.arrival and state.attempts < _ENDED
    if delivery.released is None and delivery.revision and is_released:
        return msgspec.structs.replace(delivery, released=state.mark)
    return delivery
