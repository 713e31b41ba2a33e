"""Append the deliveries of one replay at the pace of its endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, assert_never

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
from app.roles.replay.role.selector import CHECK_S, POLL_MS, POLLED, ReplaySources

#: attempts that are read after a break between two runs; after more of them, all deliveries count as attempted
_MAX_BACKLOG = 100_000


class SelectedEvent(NamedTuple):
    """An event for an endpoint; its delivery is built when it is appended."""

    event: Event
    accepted_at_ms: int
    sequence: int | None


class ReplayContext(NamedTuple):
    """What all replays have in common: sources, producer, and a way to send commands."""

    sources: ReplaySources
    producer: Producer
    commands: Callable[[], AbstractAsyncContextManager[CommandSender]]

    @property
    def feed(self) -> DirectoryFeed:
        """The directory of this process."""
        return self.sources.feed

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self.sources.clock

    @property
    def reader(self) -> HistoryReader:
        """The reader of historical records."""
        return self.sources.reader

    @property
    def topics(self) -> Topics:
        """The topics of the installation."""
        return self.sources.topics


class StopReplay(Exception):
    """A run ends: the replay is done, over (cancelled or removed), or parked (it waits or yields)."""

    def __init__(self, why: Literal["done", "over", "parked"]) -> None:
        super().__init__(why)
        self.why: Literal["done", "over", "parked"] = why


class ReplayedDelivery(NamedTuple):
    """A delivery to append."""

    endpoint_id: str
    delivery_id: str
    headers: list[RecordHeader]
    value: bytes | None

    @property
    def has_ordering_key(self) -> bool:
        """Whether it can be in a key queue."""
        return any(name == "ordering-key" for name, _ in self.headers)


class _Attempted(msgspec.Struct):
    delivery_id: str


_attempted = msgspec.json.Decoder(_Attempted)


class PacedAppender:
    """Appends the deliveries of one replay, and counts its progress; it lives for all runs of the replay."""

    def __init__(self, replay: Replay, context: ReplayContext) -> None:
        self.replay = replay
        self.context = context
        #: partition of deliveries.dead (resume) or events.raw → the lowest offset that is not finished
        self.done = dict(replay.done)
        self.sent, self.parked, self.skipped = replay.sent, replay.parked, replay.skipped
        #: when this run began to append, in seconds of the monotonic clock
        self.since: float | None = None
        #: whether this run should make room for another replay
        self.yielding = False
        self.queues: EndpointQueues[SelectedEvent] = EndpointQueues()
        #: whether this process itself has handed out all deliveries so far
        self.continued = False
        self._clock = context.clock
        self._deliveries = context.topics.name(TopicName.DELIVERIES)
        self._ordered = context.topics.name(TopicName.DELIVERIES_ORDERED)
        self._dead = context.topics.name(TopicName.DELIVERIES_DEAD)
        self._attempts = context.topics.name(TopicName.ATTEMPTS)
        self._pacer = RatePacer(replay.rate, self._clock.monotonic())
        self._windows: dict[str, pacing.UnattemptedWindow] = {}
        self._room = asyncio.Event()
        self._appended = asyncio.Event()
        #: partition of attempts → the offset up to which it was read
        self._tailed: dict[int, int] = {}

    def check_still_wanted(self) -> None:
        """Raise `StopReplay` if the replay has ended or must wait."""
        replay = self.context.feed.directory.replays.get(self.replay.id)
        if replay is None or replay.state in ("done", "cancelled"):
            raise StopReplay("over")
        if replay.state == "paused":
            raise StopReplay("parked")
        if self.replay.endpoint_id:
            self._check_endpoint(self.context.feed.directory.endpoint(self.replay.endpoint_id))

    def _check_endpoint(self, endpoint: Endpoint | None) -> None:
        if endpoint is None:
            raise StopReplay("done")
        if self.replay.reason != "replay" and endpoint.status != "active":
            raise StopReplay("parked")

    def endpoint(self) -> Endpoint:
        """The endpoint of a resume. Raises `StopReplay` if there is no work to do for it."""
        self.check_still_wanted()
        endpoint = self.context.feed.directory.endpoint(self.replay.endpoint_id)
        assert endpoint is not None, "check_still_wanted() raises if it was removed"
        return endpoint

    async def prepare(self) -> None:
        """Begin a run: note from where attempts are read, which may include those of the last run's deliveries."""
        self.since, self.yielding = None, False
        endpoints = selection.covered(self.replay, self.context.feed.directory)
        numbers = sorted({self.context.sources.partition_of(each.id) for each in endpoints})
        ends = await self.context.reader.ends(self._attempts, numbers) if numbers else {}
        if any(end - self._tailed.get(number, -1 - _MAX_BACKLOG) > _MAX_BACKLOG for number, end in ends.items()):
            self._windows.clear()
            self._tailed = dict(ends)

    async def tail(self) -> None:
        """Read attempts to learn which deliveries were attempted; never returns."""
        if not self._tailed:
            await asyncio.Event().wait()
        reading = await self.context.reader.open(self._attempts, dict(self._tailed))
        try:
            while True:
                batches = await reading.poll(list(self._tailed), timeout_ms=POLL_MS, max_records=POLLED)
                for number, records in batches.items():
                    for record in records:
                        self._tailed[number] = record.offset + 1
                        self._note_attempt(record)
        finally:
            await reading.close()

    def _note_attempt(self, record: Record) -> None:
        window = self._windows.get((record.key or b"").decode("utf-8", "replace"))
        if window is None or record.value is None:
            return
        try:
            attempt = _attempted.decode(record.value)
        except (ValueError, RecursionError):  # another program has written it
            return
        if window.attempted(attempt.delivery_id, self._clock.monotonic()):
            self._room.set()

    def allowed(self, most: int) -> int:
        """How many of `most` deliveries the replay's own rate allows now. Raises `StopReplay`."""
        self.check_still_wanted()
        if self.yielding:
            raise StopReplay("parked")
        if self.since is None:
            self.since = self._clock.monotonic()
        return self._pacer.free(most, self._clock.monotonic())

    def free(self, endpoint_id: str) -> int:
        """How many deliveries an endpoint takes now; unlimited if it is not active, because then none is sent."""
        endpoint = self.context.feed.directory.endpoint(endpoint_id)
        if endpoint is None or endpoint.status != "active":
            return POLLED
        now_s = self._clock.monotonic()
        window = self._windows.setdefault(endpoint_id, pacing.UnattemptedWindow(now_s))
        return window.free(pacing.window_of(endpoint), now_s)

    def stuck(self, endpoint_id: str) -> bool:
        """Whether an endpoint has unattempted deliveries, and none was attempted for a while."""
        window = self._windows.get(endpoint_id)
        return window is not None and window.stuck(self._clock.monotonic())

    async def wait_for_room(self) -> None:
        """Return when more may be appended, after `CHECK_S` at the latest."""
        wait_s = self._pacer.wait_s()
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, CHECK_S))
            return
        self._room.clear()
        await _either(self._room.wait(), self._clock.sleep(CHECK_S))

    async def wait_for_slots(self) -> int:
        """Wait until the endpoint of a resume takes deliveries; returns how many. Raises `StopReplay`."""
        while True:
            allowed = self.allowed(POLLED)
            free = min(allowed, self.free(self.replay.endpoint_id))
            if free > 0:
                return free
            await self.wait_for_room()

    def progress(self) -> tuple[dict[int, int], int, int, int]:
        """Offsets up to which the replay is done, and how many deliveries were sent, parked and skipped up to there."""
        above = self.queues.above(self.done)
        return (
            dict(self.done),
            self.sent - above["deliver"],
            self.parked - above["park"],
            self.skipped - above["skip"],
        )

    def add_handed_out(self, position: RecordPosition, endpoint_id: str, route: eligibility.ReplayRoute) -> None:
        """Count a delivery that was handed out before an interruption, above the reported progress."""
        self.queues.add_handed_out(position, endpoint_id, route)
        self._count(route)

    def _count(self, route: eligibility.ReplayRoute) -> None:
        self.sent += route == "deliver"
        self.parked += route == "park"
        self.skipped += route == "skip"

    async def append(self, items: Sequence[ReplayedDelivery]) -> list[eligibility.ReplayRoute]:
        """Append, park or skip deliveries; returns their routes when all appends are acknowledged."""
        self.check_still_wanted()
        acks, routes = [], list[eligibility.ReplayRoute]()
        for item in items:
            endpoint = self.context.feed.directory.endpoint(item.endpoint_id)
            route = eligibility.route_of(endpoint)
            routes.append(route)
            if endpoint is None or route == "skip":
                continue
            match route:
                case "deliver":
                    headers = item.headers
                    self._expect(item)
                case "park":
                    headers = item.headers + PARKED
                case _:
                    assert_never(route)
            acks.append(
                await self.context.producer.append(
                    self._topic(item, endpoint, route),
                    key=item.endpoint_id.encode(),
                    value=item.value,
                    headers=headers,
                    partition=self.context.sources.partition_of(item.endpoint_id),
                )
            )
        await asyncio.gather(*acks)
        self._pacer.took(len(acks))
        for route in routes:
            self._count(route)
        self._appended.set()
        return routes

    def _topic(self, item: ReplayedDelivery, endpoint: Endpoint, route: eligibility.ReplayRoute) -> str:
        if route == "park":
            return self._dead
        return self._ordered if endpoint.ordering == "fifo" and item.has_ordering_key else self._deliveries

    def _expect(self, item: ReplayedDelivery) -> None:
        now_s = self._clock.monotonic()
        self._windows.setdefault(item.endpoint_id, pacing.UnattemptedWindow(now_s)).sent(item.delivery_id, now_s)

    async def wait_for_appends(self) -> None:
        """Return when something was appended, after `CHECK_S` at the latest."""
        await _either(self._appended.wait(), self._clock.sleep(CHECK_S))
        self._appended.clear()


async def _either(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
