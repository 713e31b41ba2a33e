"""Sequencer and resume together, on fakes, in any interleaving: each key in sequence, nothing lost, no line held.

The sequencer's directory lags behind the registry, its batches are read again after crashes, and the worker of the
resume is replaced. Fan-out and dispatch are played here: the one appends events in sequence, the other settles.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.model.delivery import Delivery
from app.core.records import delivery as delivery_record
from app.core.records.command import CancelReplay, Command, CommandAction, RemoveEndpoint, UpdateEndpoint
from app.core.records.dead_letter import PARKED
from app.core.records.ordered import SettledAs, comes_back, settlement
from app.core.records.registry import apply, encode
from app.core.topics.names import TopicName
from app.roles.registry.decisions import decide
from app.roles.sequencer.role.worker import SequencerRole
from tests.fakes.clock import settle
from tests.fakes.log import MemoryRecord
from tests.fakes.stream import MemoryPartition, MemoryStreamApp
from tests.roles.replay.replay_stage import NUMBER, WORKER, Stage

KEYS = ("k0", "k1", "k2")


class LateFeed:
    """`app.ports.registry.DirectoryFeed` that reads the registry only when a role catches up, or on `read_all`."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.position = 0
        self.unread: list[tuple[int, str, bytes | None]] = []

    def read_all(self) -> None:
        for position, key, value in self.unread:
            apply(self.directory, key, value)
            self.position = position
        self.unread.clear()

    async def catch_up(self, since: float | None = None) -> None:
        await asyncio.sleep(0)
        self.read_all()

    async def catch_up_after_reply(self) -> None:
        await self.catch_up()


class World(Stage):
    """An ordered endpoint with everything that brings it deliveries."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.dice = Random(seed)
        self.late = LateFeed()
        self.endpoint(ordering="fifo")
        self.late.directory.put_endpoint(self.registered())
        self.partition = MemoryPartition(NUMBER)
        self.committed = self.read = self.handled = 0
        self.counts: Counter[str] = Counter()
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.resumes = 0
        self.reader.sequenced = self._sequenced  # type: ignore[method-assign]
        self._begin()

    def _begin(self) -> None:
        self.app = MemoryStreamApp()
        self.app.partitions.append(self.partition)
        self.sequencer = SequencerRole(
            app=lambda: self.app,
            producer=self.log,
            feed=self.late,
            meter=PrometheusMeter(),
            deliveries=TopicName.DELIVERIES,
            ordered=TopicName.DELIVERIES_ORDERED,
            dead=TopicName.DELIVERIES_DEAD,
            max_record_bytes=100_000,
            clock=self.clock,
        )
        self.sequencing = asyncio.create_task(self.sequencer.run())

    async def end(self) -> None:
        self.sequencing.cancel()
        await asyncio.gather(self.sequencing, return_exceptions=True)

    async def _sequenced(self) -> dict[int, int]:
        return {NUMBER: self.committed}

    def registered(self) -> Any:
        return self.feed.directory.endpoint("ep")

    def do(self, action: CommandAction) -> None:
        command = Command(id="c", issued_at_ms=0, action=action)
        for change in decide(command, self.feed.directory, self.clock.now_ms(), {"standard"}):
            value = encode(change.value)
            apply(self.feed.directory, change.key, value)
            self.late.unread.append((self.feed.position + 1, change.key, value))
        self.feed.move(self.feed.position + 1)

    # --- what may happen ----------------------------------------------------------------------------------------

    def event(self, key: str) -> None:
        self.counts[key] += 1
        number = self.counts[key]
        delivery = Delivery(
            id=f"{key}-{number}",
            endpoint_id="ep",
            event_id=f"{key}-{number}",
            event_type="a.b",
            tenant="t",
            mode="live",
            created_at="x",
            body=b"{}",
            ordering_key=key,
            sequence=number,
            accepted_at_ms=self.dice.randint(1, 1000),
        )
        headers = [*delivery_record.encode(delivery), ("registry-position", b"%d" % self.feed.position)]
        endpoint = self.registered()
        if endpoint is None or endpoint.status == "disabled":
            return
        if endpoint.ordering == "fifo":
            self._put(TopicName.DELIVERIES_ORDERED, b"{}", headers)
        elif endpoint.status == "paused":
            self._put(TopicName.DELIVERIES_DEAD, b"{}", headers + PARKED)
        else:
            self._put(TopicName.DELIVERIES, b"{}", headers)

    def _put(self, topic: str, value: bytes | None, headers: list[tuple[str, bytes]]) -> MemoryRecord:
        return self.log.put(topic, key=b"ep", value=value, headers=headers, partition=NUMBER)

    async def sequence(self, most: int = 1_000_000, *, commit: bool = True) -> None:
        records = self.log.partitions[TopicName.DELIVERIES_ORDERED, NUMBER][self.read :][:most]
        if records:
            batch = self.app.give(self.partition, *records)
            batch.polled_at = self.clock.monotonic()
            await self.app.acked(batch)
            self.read += len(records)
        if commit:
            self.committed = self.read

    def dispatch(self, most: int = 1_000_000) -> None:
        records = self.log.partitions[TopicName.DELIVERIES, NUMBER][self.handled :][:most]
        self.handled += len(records)
        for record in records:
            delivery, _ = delivery_record.decode(record.key, record.value, record.headers)
            self.attempt(record)
            self._end(delivery)

    def _end(self, delivery: Delivery) -> None:
        key, endpoint = delivery.ordering_key or "", self.registered()
        cancelled = endpoint is None or endpoint.status == "disabled"
        if not cancelled and endpoint.status == "paused":
            if delivery.arrival is None:
                self._put(TopicName.DELIVERIES_DEAD, b"{}", delivery_record.encode(delivery) + PARKED)
            else:
                back = [*delivery_record.encode(delivery), *comes_back(delivery.arrival)]
                self._put(TopicName.DELIVERIES_ORDERED, b"{}", back)
            return
        if not cancelled and delivery.sequence not in self.seen[key]:
            self.seen[key].append(delivery.sequence or 0)
        if delivery.arrival is not None:
            outcome: SettledAs = "cancelled" if cancelled else "delivered"
            self._put(TopicName.DELIVERIES_ORDERED, None, settlement(delivery.arrival, outcome, key))

    def attempt(self, record: MemoryRecord) -> None:
        value = b'{"delivery_id":"%s"}' % (record.header("delivery-id") or "").encode()
        self._put(TopicName.ATTEMPTS, value, [])

    def toggle(self) -> None:
        if self.registered().status == "paused":
            self.resumes += 1
            self.reactivate(f"rpl{self.resumes}")
        else:
            self.suspend()

    async def crash(self) -> None:
        """The sequencer begins again at its commit; its tables are as they were."""
        await self.end()
        self.read = self.committed
        self._begin()
        await settle()

    async def replace(self) -> None:
        """Another worker of replays."""
        await self.source.revoke(WORKER)
        await self.source.assign(WORKER)

    async def calm(self, rounds: int = 200) -> None:
        """Until all has come to rest."""
        if self.registered() is not None and self.registered().status == "paused":
            self.toggle()
        before = None
        for _ in range(rounds):
            self.late.read_all()
            await self.sequence()
            self.dispatch()
            await self.clock.advance(0.2)
            now = (self.read, self.handled, self.log.partitions[TopicName.DELIVERIES_ORDERED, NUMBER][-1:])
            waits = self.registered() is not None and self.registered().status == "disabled"
            ended = waits or all(each.state in ("done", "cancelled") for each in self.feed.directory.replays.values())
            if before == now and ended and not self.partition.tables["waiting"]:
                return
            before = now
        raise AssertionError("it never came to rest")

    def cancel(self) -> None:
        for each in list(self.feed.directory.replays.values()):
            if each.state not in ("done", "cancelled"):
                self.do(CancelReplay(each.id))

    def turn_around(self) -> None:
        """Disabled, enabled, ordered or not."""
        match self.dice.randint(0, 3):
            case 0 if self.registered().status != "disabled":
                self.suspend("disabled")
            case 1:
                self.resumes += 1
                self.reactivate(f"rpl{self.resumes}")
            case _:
                self.reorder()

    def reorder(self) -> None:
        self.do(UpdateEndpoint("ep", {"ordering": self.dice.choice(("none", "fifo"))}))


async def play(world: World, *, steps: int = 120, changes: Sequence[Callable[[], None]] = ()) -> None:
    """Do something at random, often."""
    dice = world.dice
    await world.start()
    for _ in range(steps):
        match dice.choices(range(9), (30, 15, 15, 15, 4, 3, 2, 1, 3 if changes else 0))[0]:
            case 0:
                world.event(dice.choice(KEYS))
            case 1:
                await world.sequence(dice.randint(1, 6), commit=dice.random() < 0.6)
            case 2:
                world.dispatch(dice.randint(1, 4))
            case 3:
                await world.clock.advance(dice.choice((0.05, 0.3, 2.1)))
            case 4 if world.registered().status != "disabled":
                world.toggle()
            case 5:
                world.late.read_all()
            case 6:
                await world.crash()
            case 7:
                await world.replace()
            case 8:
                dice.choice(changes)()
            case _:
                pass


@asynccontextmanager
async def world_of(seed: int) -> AsyncIterator[World]:
    """A world, ended in the end; a failure names its seed."""
    world = World(seed)
    try:
        yield world
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        await world.end()
        await world.stop()


@pytest.mark.parametrize("block", range(8))
async def test_in_any_interleaving_each_key_is_in_sequence_and_complete(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        async with world_of(seed) as world:
            await play(world)
            await world.calm()
            wanted = {key: list(range(1, number + 1)) for key, number in world.counts.items()}
            assert dict(world.seen) == wanted


@pytest.mark.parametrize("block", range(4))
async def test_a_cancelled_resume_leaves_parked_deliveries_and_blocks_nothing(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        async with world_of(seed) as world:
            await play(world, changes=[world.cancel])
            await world.calm()
            last = dict(world.counts)
            for key in KEYS:
                world.event(key)
            await world.calm()
            for key in KEYS:
                assert world.seen[key] == sorted(world.seen[key])
                assert world.seen[key][-1] == last.get(key, 0) + 1


@pytest.mark.parametrize("block", range(4))
async def test_no_queue_stays_held_whatever_changes_meanwhile(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        async with world_of(seed) as world:
            await play(world, changes=[world.turn_around, world.turn_around, world.cancel])
            if seed % 3 == 0:
                world.do(RemoveEndpoint("ep"))
            await world.calm()


@pytest.mark.parametrize("block", range(4))
async def test_changing_the_ordering_during_a_resume_loses_nothing(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        async with world_of(seed) as world:
            await play(world, changes=[world.reorder])
            await world.calm()
            assert {key: sorted(seen) for key, seen in world.seen.items()} == {
                key: list(range(1, number + 1)) for key, number in world.counts.items()
            }
