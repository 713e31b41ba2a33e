"""Append to endpoints' deliveries at the pace at which they take them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple

import msgspec

from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.replay import Replay
from app.core.records.dead_letter import PARKED
from app.core.records.headers import RecordHeader
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.history import HistoryReader
from app.ports.producer import Producer
from app.ports.registry import CommandSender, DirectoryFeed
from app.roles.replay import eligibility, pacing, selection
from app.roles.replay.pacing import RatePacer
from app.roles.replay.queues import EndpointQueues, RecordPosition
from app.roles.replay.role.selector import LOOK_S, POLL_MS, POLLED, ReplaySources

#: attempts that may have been written between two turns; after more it is not looked for what became of the deliveries
_MISSED = 100_000


class SelectedEvent(NamedTuple):
    """An event that an endpoint is to get; its delivery is made when its turn comes."""

    event: Event
    accepted_at_ms: int
    sequence: int | None


class ReplayContext(NamedTuple):
    """What all replays share."""

    archive: ReplaySources
    log: Producer
    commands: Callable[[], AbstractAsyncContextManager[CommandSender]]

    @property
    def feed(self) -> DirectoryFeed:
        """The registry."""
        return self.archive.feed

    @property
    def clock(self) -> Clock:
        """Now."""
        return self.archive.clock

    @property
    def reader(self) -> HistoryReader:
        """The log as it was."""
        return self.archive.reader

    @property
    def topics(self) -> Topics:
        """Their names."""
        return self.archive.topics


class StopReplay(Exception):
    """Work on a replay ends here."""

    def __init__(self, why: Literal["done", "over", "parked"]) -> None:
        super().__init__(why)
        self.why: Literal["done", "over", "parked"] = why


class ReplayedDelivery(NamedTuple):
    """A delivery to be appended."""

    endpoint_id: str
    delivery_id: str
    headers: list[RecordHeader]
    value: bytes | None

    @property
    def has_ordering_key(self) -> bool:
        """Whether it can stand in a line."""
        return any(name == "ordering-key" for name, _ in self.headers)


class _Attempted(msgspec.Struct):
    delivery_id: str


_attempted = msgspec.json.Decoder(_Attempted)


class PacedAppender:
    """What one replay gives its endpoints, and how far it has come; it lasts from turn to turn."""

    def __init__(self, replay: Replay, around: ReplayContext) -> None:
        self.replay = replay
        self.around = around
        #: partition → the lowest offset that is not finished; of deliveries.dead (resume) or events.raw
        self.done = dict(replay.done)
        self.sent, self.parked, self.skipped = replay.sent, replay.parked, replay.skipped
        #: since when it appends, in this turn
        self.since: float | None = None
        #: asked to make room
        self.yielding = False
        self.queues: EndpointQueues[SelectedEvent] = EndpointQueues()
        #: this process knows what was handed out so far
        self.continued = False
        self._clock = around.clock
        self._deliveries = around.topics.name(TopicName.DELIVERIES)
        self._ordered = around.topics.name(TopicName.DELIVERIES_ORDERED)
        self._dead = around.topics.name(TopicName.DELIVERIES_DEAD)
        self._attempts = around.topics.name(TopicName.ATTEMPTS)
        self._allowance = RatePacer(replay.rate, self._clock.monotonic())
        self._windows: dict[str, pacing.UnattemptedWindow] = {}
        self._moved = asyncio.Event()
        self._grown = asyncio.Event()
        #: partition of attempts → how far it was read
        self._tailed: dict[int, int] = {}

    def look(self) -> None:
        """Raises `Leave` when there is no work to do now."""
        replay = self.around.feed.directory.replays.get(self.replay.id)
        if replay is None or replay.state in ("done", "cancelled"):
            raise StopReplay("over")
        if replay.state == "paused":
            raise StopReplay("parked")
        if self.replay.endpoint_id:
            self._look_at(self.around.feed.directory.endpoint(self.replay.endpoint_id))

    def _look_at(self, endpoint: Endpoint | None) -> None:
        if endpoint is None:
            raise StopReplay("done")
        if self.replay.reason != "replay" and endpoint.status != "active":
            raise StopReplay("parked")

    def endpoint(self) -> Endpoint:
        """The one endpoint of a resume, while there is work to do for it."""
        self.look()
        endpoint = self.around.feed.directory.endpoint(self.replay.endpoint_id)
        assert endpoint is not None, "look() raises where it is gone"
        return endpoint

    async def prepare(self) -> None:
        """Begin a turn: from here on attempts are seen. Those of the last turn's deliveries are looked for, too."""
        self.since, self.yielding = None, False
        endpoints = selection.covered(self.replay, self.around.feed.directory)
        numbers = sorted({self.around.archive.partition_of(each.id) for each in endpoints})
        ends = await self.around.reader.ends(self._attempts, numbers) if numbers else {}
        if any(end - self._tailed.get(number, -1 - _MISSED) > _MISSED for number, end in ends.items()):
            self._windows.clear()
            self._tailed = dict(ends)

    async def tail(self) -> None:
        """Learn from the attempts which deliveries have had their turn; never returns."""
        if not self._tailed:
            await asyncio.Event().wait()
        reading = await self.around.reader.open(self._attempts, dict(self._tailed))
        try:
            while True:
                batches = await reading.poll(list(self._tailed), timeout_ms=POLL_MS, max_records=POLLED)
                for number, records in batches.items():
                    for record in records:
                        self._tailed[number] = record.offset + 1
                        self._see(record)
        finally:
            await reading.close()

    def _see(self, record: Record) -> None:
        window = self._windows.get((record.key or b"").decode("utf-8", "replace"))
        if window is None or record.value is None:
            return
        try:
            said = _attempted.decode(record.value)
        except (ValueError, RecursionError):  # none of ours
            return
        if window.attempted(said.delivery_id, self._clock.monotonic()):
            self._moved.set()

    def allowed(self, most: int) -> int:
        """How many deliveries may be appended now, by the replay's own rate; raises `Leave`."""
        self.look()
        if self.yielding:
            raise StopReplay("parked")
        if self.since is None:
            self.since = self._clock.monotonic()
        return self._allowance.free(most, self._clock.monotonic())

    def free(self, endpoint_id: str) -> int:
        """How many deliveries an endpoint takes now. One that takes none by itself holds nobody up."""
        endpoint = self.around.feed.directory.endpoint(endpoint_id)
        if endpoint is None or endpoint.status != "active":
            return POLLED
        now_s = self._clock.monotonic()
        window = self._windows.setdefault(endpoint_id, pacing.UnattemptedWindow(now_s))
        return window.free(pacing.window_of(endpoint), now_s)

    def stuck(self, endpoint_id: str) -> bool:
        """Whether an endpoint has not taken anything for a while, though it was given something."""
        window = self._windows.get(endpoint_id)
        return window is not None and window.stuck(self._clock.monotonic())

    async def moved(self) -> None:
        """Return when more may be appended, or after a while."""
        wait_s = self._allowance.wait_s()
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, LOOK_S))
            return
        self._moved.clear()
        await _either(self._moved.wait(), self._clock.sleep(LOOK_S))

    async def slots(self) -> int:
        """Wait until the one endpoint of a resume takes deliveries; how many."""
        while True:
            allowed = self.allowed(POLLED)
            free = min(allowed, self.free(self.replay.endpoint_id))
            if free > 0:
                return free
            await self.moved()

    def told(self) -> tuple[dict[int, int], int, int, int]:
        """What the registry is to know: how far it is, and what was sent, put aside and left out up to there."""
        above = self.queues.above(self.done)
        return (
            dict(self.done),
            self.sent - above["deliver"],
            self.parked - above["park"],
            self.skipped - above["skip"],
        )

    def recognised(self, spot: RecordPosition, endpoint_id: str, fate: eligibility.ReplayRoute) -> None:
        """A delivery was made before an interruption, above what the registry was told."""
        self.queues.made(spot, endpoint_id, fate)
        self._count(fate)

    def _count(self, fate: eligibility.ReplayRoute) -> None:
        self.sent += fate == "deliver"
        self.parked += fate == "park"
        self.skipped += fate == "skip"

    async def append(self, items: Sequence[ReplayedDelivery]) -> list[eligibility.ReplayRoute]:
        """Append deliveries, or what their endpoints' state makes of them; returns when all are acknowledged."""
        self.look()
        acks, fates = [], list[eligibility.ReplayRoute]()
        for item in items:
            endpoint = self.around.feed.directory.endpoint(item.endpoint_id)
            fate = eligibility.fate(endpoint)
            fates.append(fate)
            if endpoint is None or fate == "skip":
                continue
            headers = item.headers if fate == "deliver" else item.headers + PARKED
            if fate == "deliver":
                self._expect(item)
            acks.append(
                await self.around.log.append(
                    self._topic(item, endpoint, fate),
                    key=item.endpoint_id.encode(),
                    value=item.value,
                    headers=headers,
                    partition=self.around.archive.partition_of(item.endpoint_id),
                )
            )
        await asyncio.gather(*acks)
        self._allowance.took(len(acks))
        for fate in fates:
            self._count(fate)
        self._grown.set()
        return fates

    def _topic(self, item: ReplayedDelivery, endpoint: Endpoint, fate: eligibility.ReplayRoute) -> str:
        if fate == "park":
            return self._dead
        return self._ordered if endpoint.ordering == "fifo" and item.has_ordering_key else self._deliveries

    def _expect(self, item: ReplayedDelivery) -> None:
        now_s = self._clock.monotonic()
        self._windows.setdefault(item.endpoint_id, pacing.UnattemptedWindow(now_s)).sent(item.delivery_id, now_s)

    async def progressed(self) -> None:
        """Return when something was appended, or after a while."""
        await _either(self._grown.wait(), self._clock.sleep(LOOK_S))
        self._grown.clear()


async def _either(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
