"""Ordered deliveries under attack: sequencer, ladder, crashes and copies in random orders."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from app.core.model.delivery import Delivery
from app.core.offsets.partitions import CommittedOffset, OpenPartition
from app.roles.dispatch.ordered_deliveries import OrderedDeliveries, Step
from app.roles.sequencer import key_queue

PLACE = ("deliveries", 0)


class Copy:
    def __init__(self, delivery: Delivery, partition: OpenPartition, offset: int) -> None:
        self.delivery = delivery
        self.partition = partition
        self.offset = offset


def delivery(number: int, released: int | None = None, *, key: str = "k", **fields: object) -> Delivery:
    plain = Delivery(
        id=f"dlv_{number}",
        endpoint_id="ep",
        event_id=f"e{number}",
        event_type="a.b",
        tenant="acme",
        mode="live",
        created_at="",
        body=b"",
        arrival=number,
        released=released,
        ordering_key=key,
    )
    return msgspec.structs.replace(plain, **fields)


class World:
    """One line: the sequencer before it, a worker that crashes, and the ladder behind it."""

    def __init__(self, seed: int, events: int) -> None:
        self.dice = Random(seed)
        self.line = key_queue.KeyQueue()
        self.ordered: list[tuple[int, str] | None] = [None] * events  # arrivals first: they are their own offsets
        self.read = 0
        self.log: list[Delivery] = []
        self.ladder: list[Delivery] = []
        #: offsets that the group knows to be finished, and those that the next commit will tell
        self.committed: set[int] = set()
        self.finished: set[int] = set()
        #: (number, attempt) of each request, and which have ended
        self.requests: list[int] = []
        self.outcomes: dict[int, str] = {}
        self.flying: Copy | None = None
        self.hands: list[Copy] = []
        self.start()

    def start(self) -> None:
        """A worker takes the partition over."""
        self.ordered_deliveries: OrderedDeliveries[Copy] = OrderedDeliveries()
        self.partition = OpenPartition(PLACE, CommittedOffset(0, ""), lambda: None)
        self.partition.catching_up, self.partition.end = True, len(self.log)
        self.finished = set(self.committed)
        self.polled = 0
        self.hands, self.flying = [], None

    def sequencer(self) -> None:
        if self.read < len(self.ordered):
            offset, entry = self.read, self.ordered[self.read]
            self.read += 1
            if entry is None:
                self.line, orders = key_queue.arrive(self.line, offset)
            else:
                outcome = "delivered" if entry[1] == "delivered" else "dead"
                self.line, orders = key_queue.settle(self.line, offset, entry[0], outcome, block=False)  # type: ignore[arg-type]
            for order in orders:
                if isinstance(order, key_queue.ReleaseNext):
                    self.log.append(delivery(order.offset, self.line.cause))

    def poll(self) -> None:
        if self.polled < len(self.log):
            offset = self.polled
            self.polled += 1
            if offset not in self.finished:
                self.obey(self.ordered_deliveries.enter(Copy(self.log[offset], self.partition, offset)))
        if self.partition.catching_up and self.polled >= self.partition.end:
            self.partition.catching_up = False
            for step in self.ordered_deliveries.caught_up(self.partition):
                self.obey(step)

    def obey(self, step: Step[Copy]) -> None:
        go, over = step
        self.finished |= {each.offset for each in over}
        if go is not None:
            self.hands.append(go)

    def send(self) -> None:
        if self.flying is not None or not self.hands:
            return
        copy = self.hands.pop(0)
        assert not self.hands, "two of one line were in hand"
        if self.ordered_deliveries.is_outdated(copy.delivery):
            self.finish(copy)
            return
        self.flying = copy
        self.requests.append(copy.delivery.arrival or 0)

    def answer(self) -> None:
        if self.flying is None:
            return
        copy, self.flying = self.flying, None
        one = copy.delivery
        if self.dice.random() < 0.5 or one.arrival in self.outcomes:  # see the bound in docs/guarantees.md, section 5
            self.ordered.append((one.arrival or 0, "delivered"))
            self.outcomes[one.arrival or 0] = "delivered"
            self.ordered_deliveries.ended(one)
        elif not self.ordered_deliveries.is_outdated(one):
            onward = msgspec.structs.replace(one, attempts=one.attempts + 1)
            self.ladder.append(onward)
            self.ordered_deliveries.rescheduled(onward)
            self.finished.add(copy.offset)
            self.commit()  # a crash before it is a second run, which only a memory recognises
        self.finish(copy)

    def finish(self, copy: Copy) -> None:
        self.finished.add(copy.offset)
        self.obey(self.ordered_deliveries.leave(copy))

    def delay(self) -> None:
        if self.ladder:
            self.log.append(self.ladder.pop(self.dice.randrange(len(self.ladder))))

    def commit(self) -> None:
        self.committed |= self.finished

    def crash(self) -> None:
        if self.dice.random() < 0.08:
            self.start()

    def step(self) -> None:
        self.dice.choice((self.sequencer, self.poll, self.send, self.answer, self.delay, self.commit, self.crash))()


@pytest.mark.parametrize("seed", range(400))
def test_one_at_a_time_in_sequence_and_every_one_whatever_crashes(seed: int) -> None:
    world = World(seed, events=6)
    for _ in range(50_000):
        world.step()
        if len(world.outcomes) == 6:
            break
    assert sorted(world.outcomes) == list(range(6)), "a delivery was lost, or its line waits for ever"
    newest = -1
    for number in world.requests:
        assert number >= newest, f"{number} was sent after {newest}: {world.requests}"
        newest = max(newest, number)


def test_idle_key_queues_are_remembered_up_to_a_bound() -> None:
    ordered: OrderedDeliveries[Copy] = OrderedDeliveries(remembered=2)
    partition = OpenPartition(PLACE, CommittedOffset(0, ""), lambda: None)
    for key in ("a", "b", "c"):
        copy = Copy(delivery(1, 5, key=key), partition, 0)
        assert ordered.enter(copy).go is copy
        ordered.ended(copy.delivery)
        assert ordered.leave(copy) == (None, [])
    assert [ordered.enter(Copy(delivery(1, 5, key=key), partition, 1)).go is None for key in ("b", "c", "a")] == [
        True,
        True,
        False,
    ]
