"""Ordered deliveries in one worker's hands: of each line at most one goes on, and none that a later one proves settled.

Rules of this file (DESIGN guarantee 5)
- A line is one endpoint and one ordering key. The sequencer lets its deliveries out one after the other, and marks each
  with the offset of the record that let it go (`released`), which grows within a line. So a larger mark in the log
  proves that everything with a smaller one was settled, whatever copies of it still turn up: read again after a crash,
  or out of the ladder after a second run. They are *over*: they end unsent.
- With the same mark, more attempts prove that the copies with fewer were attempted.
- Whoever is in hand (in its lane, or under way) keeps the others of its line waiting. One whose successor arrives while
  it is under way is over, too: its failure has no retry.
- A partition that *catches up* lets nobody go before its records are read up to where they ended at its assignment:
  what was settled and not committed meets its successor before it is sent.
- What somebody asks for by hand (a revision) goes beside the copy in hand that it replaces
  (core/supersession.py), and is over
  only with the delivery that it belongs to. What has no mark (older versions) waits for its turn, and is never over.
- Marks are remembered beyond the last delivery in hand, for the lines that moved last, also when their partition goes
  and comes back: what they prove stays true.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from app.core.model.delivery import Delivery
from app.core.offsets.partitions import OpenPartition

#: lines with nothing in hand whose marks are remembered
REMEMBERED = 20_000
#: attempts of a delivery that has ended
_ENDED = 2**62


class Held(Protocol):
    """What a worker has in hand."""

    delivery: Delivery

    @property
    def partition(self) -> OpenPartition: ...


W = TypeVar("W", bound=Held)
KeyQueueName = tuple[str, str]


class _Line(Generic[W]):
    __slots__ = ("arrival", "attempts", "hands", "mark", "waiting")

    def __init__(self) -> None:
        #: the largest mark, the arrival that has it, and how many attempts its copies have shown
        self.mark = -1
        self.arrival = -1
        self.attempts = 0
        self.hands: list[W] = []
        self.waiting: deque[W] = deque()

    def is_over(self, delivery: Delivery) -> bool:
        mark = delivery.released
        if mark is None or mark > self.mark:
            return False
        return mark < self.mark or (not delivery.revision and delivery.attempts < self.attempts)

    def learn(self, delivery: Delivery) -> bool:
        """What its mark and its attempts prove; whether that is new."""
        before, mark = (self.mark, self.attempts), delivery.released
        if mark is None or mark < self.mark:
            return False
        if mark > self.mark:
            self.mark, self.arrival, self.attempts = mark, delivery.arrival or 0, 0
        if not delivery.revision:
            self.attempts = max(self.attempts, delivery.attempts)
        return (self.mark, self.attempts) != before


class Step(NamedTuple, Generic[W]):
    """What follows: who goes on, and who is over."""

    go: W | None
    over: list[W]


class Lines(Generic[W]):
    """All lines of one worker."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._busy: dict[KeyQueueName, _Line[W]] = {}
        self._resting: OrderedDict[KeyQueueName, _Line[W]] = OrderedDict()

    def take(self, work: W) -> Step[W]:
        """It has been read."""
        name = _name(work.delivery)
        line = self._busy.get(name) or self._resting.pop(name, None) or _Line()
        self._busy[name] = line
        work.delivery = delivery = _placed(work.delivery, line)
        if line.is_over(delivery):
            return self._rest(name, line, Step(None, [work]))
        over: list[W] = []
        if line.learn(delivery) and (over := [each for each in line.waiting if line.is_over(each.delivery)]):
            line.waiting = deque(each for each in line.waiting if each not in over)
        line.waiting.append(work)
        beside = delivery.revision and any(each.delivery.id == delivery.id for each in line.hands)
        if beside and not work.partition.catching_up:
            line.waiting.pop()
            line.hands.append(work)
            return Step(work, over)
        return self._next(name, line, over)

    def is_over(self, delivery: Delivery) -> bool:
        """Whether a later one has arrived meanwhile."""
        line = self._busy.get(_name(delivery))
        return line is not None and line.is_over(delivery)

    def is_past(self, delivery: Delivery) -> bool:
        """Whether another delivery of its line is out: it is more than a copy of the one that is."""
        line, mark = self._of(delivery), delivery.released
        return line is not None and mark is not None and mark < line.mark

    def moved(self, onward: Delivery) -> None:
        """Its next attempt is scheduled: copies of earlier ones are over."""
        line = self._of(onward)
        if line is not None:
            line.learn(onward)

    def ended(self, delivery: Delivery) -> None:
        """It is settled for good."""
        line = self._of(delivery)
        if line is not None and delivery.released is not None and delivery.released == line.mark:
            line.attempts = _ENDED

    def left(self, work: W) -> Step[W]:
        """It is in hand no more."""
        name = _name(work.delivery)
        line = self._busy.get(name)
        if line is None:
            return Step(None, [])
        if work in line.hands:
            line.hands.remove(work)
        return self._next(name, line, [])

    def caught_up(self, partition: OpenPartition) -> list[Step[W]]:
        """Nothing of the partition is held back any more (`catching_up` is false by now)."""
        names = [name for name, line in self._busy.items() if any(each.partition is partition for each in line.waiting)]
        return [self._next(name, self._busy[name], []) for name in names if name in self._busy]

    def held_back(self, partition: OpenPartition) -> int:
        """How many of the partition wait."""
        return sum(1 for line in self._busy.values() for each in line.waiting if each.partition is partition)

    def _of(self, delivery: Delivery) -> _Line[W] | None:
        return self._busy.get(_name(delivery)) or self._resting.get(_name(delivery))

    def _next(self, name: KeyQueueName, line: _Line[W], over: list[W]) -> Step[W]:
        while line.waiting and not line.hands:
            first = line.waiting[0]
            if first.partition.active and first.partition.catching_up and not line.is_over(first.delivery):
                break
            line.waiting.popleft()
            if not first.partition.active:
                continue  # its next owner has it
            if line.is_over(first.delivery):
                over.append(first)
                continue
            line.hands.append(first)
            return Step(first, over)
        return self._rest(name, line, Step(None, over))

    def _rest(self, name: KeyQueueName, line: _Line[W], step: Step[W]) -> Step[W]:
        if not line.hands and not line.waiting:
            self._busy.pop(name, None)
            if line.mark >= 0:
                self._resting[name] = line
                self._resting.move_to_end(name)
                if len(self._resting) > self._remembered:
                    self._resting.popitem(last=False)
        return step


def is_ordered(delivery: Delivery) -> bool:
    """Whether it is one of a line: the sequencer has let it out."""
    return delivery.arrival is not None and delivery.ordering_key is not None


def _name(delivery: Delivery) -> KeyQueueName:
    return delivery.endpoint_id, delivery.ordering_key or ""


def _placed(delivery: Delivery, line: _Line[W]) -> Delivery:
    """What somebody asks of the delivery that is out has its place in the line; of one that has ended it has none."""
    if delivery.released is None and delivery.revision and delivery.arrival == line.arrival and line.attempts < _ENDED:
        return msgspec.structs.replace(delivery, released=line.mark)
    return delivery
