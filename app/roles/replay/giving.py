"""Append to one endpoint's deliveries at the pace at which it takes them, as long as it is active."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple

import msgspec

from app.core import replaying
from app.core.delivery_record import Header
from app.core.model import Endpoint, EventType, Replay
from app.core.topics import Names, Topics
from app.ports import Clock, CommandSender, DirectoryFeed, Log, ReplayReader

#: between two looks at the directory
LOOK_S = 1.0
POLL_MS = 1000
POLLED = 200
#: attempts that may have been written between two turns; after more it is not looked for what became of the deliveries
_MISSED = 100_000


class Surroundings(NamedTuple):
    """What all replays share."""

    reader: ReplayReader
    log: Log
    feed: DirectoryFeed
    commands: Callable[[], AbstractAsyncContextManager[CommandSender]]
    clock: Clock
    topics: Topics
    #: the partition of an endpoint's deliveries
    partition_of: Callable[[str], int]
    #: the topic of the fan-out's table of first sights
    changelog: str
    max_event_bytes: int
    #: where data breaks its type's schema
    violation: Callable[[EventType, bytes], str | None]


class Leave(Exception):
    """Work on a replay ends here."""

    def __init__(self, why: Literal["done", "over", "parked"]) -> None:
        super().__init__(why)
        self.why: Literal["done", "over", "parked"] = why


class Item(NamedTuple):
    """A delivery to be appended."""

    delivery_id: str
    headers: list[Header]
    value: bytes | None

    @property
    def has_ordering_key(self) -> bool:
        """Whether it can stand in a line."""
        return any(name == "ordering-key" for name, _ in self.headers)


class _Attempted(msgspec.Struct):
    delivery_id: str


_attempted = msgspec.json.Decoder(_Attempted)


class Giving:
    """What one replay gives its endpoint, and how far it has come; it lasts from turn to turn."""

    def __init__(self, replay: Replay, around: Surroundings) -> None:
        self.replay = replay
        self.around = around
        #: partition → the lowest offset that is not finished; of deliveries.dead (resume) or events.raw (recover)
        self.done = dict(replay.done)
        self.sent = replay.sent
        #: since when it appends, in this turn
        self.since: float | None = None
        #: asked to make room
        self.yielding = False
        #: the endpoint's partition, and the key of its records
        self.number = around.partition_of(replay.endpoint_id)
        self.key = replay.endpoint_id.encode()
        self._deliveries = around.topics.name(Names.DELIVERIES)
        self._ordered = around.topics.name(Names.DELIVERIES_ORDERED)
        self._attempts = around.topics.name(Names.ATTEMPTS)
        self._clock = around.clock
        self._window = replaying.Window(self._clock.monotonic())
        self._moved = asyncio.Event()
        self._grown = asyncio.Event()
        #: how far the endpoint's partition of attempts was read
        self._tailed: int | None = None

    def look(self) -> Endpoint:
        """The endpoint, while there is work to do for it."""
        directory = self.around.feed.directory
        replay = directory.replays.get(self.replay.id)
        if replay is None or replay.state in ("done", "cancelled"):
            raise Leave("over")
        endpoint = directory.endpoint(replay.endpoint_id)
        if endpoint is None:
            raise Leave("done")
        if endpoint.status != "active":
            raise Leave("parked")
        return endpoint

    async def prepare(self) -> None:
        """Begin a turn: from here on attempts are seen. Those of the last turn's deliveries are looked for, too."""
        self.since, self.yielding = None, False
        end = (await self.around.reader.ends(self._attempts, [self.number]))[self.number]
        if self._tailed is None or end - self._tailed > _MISSED:
            self._window = replaying.Window(self._clock.monotonic())
            self._tailed = end

    async def tail(self) -> None:
        """Learn from the attempts which deliveries have had their turn."""
        at = self._tailed or 0
        reading = await self.around.reader.open(self._attempts, {self.number: at})
        try:
            while True:
                batches = await reading.poll((self.number,), timeout_ms=POLL_MS, max_records=POLLED)
                for record in batches.get(self.number, ()):
                    self._tailed = record.offset + 1
                    if record.key == self.key and record.value is not None:
                        self._attempted(record.value)
        finally:
            await reading.close()

    def _attempted(self, value: bytes) -> None:
        try:
            said = _attempted.decode(value)
        except msgspec.MsgspecError:
            return
        if self._window.attempted(said.delivery_id, self._clock.monotonic()):
            self._moved.set()

    async def slots(self) -> int:
        """Wait until deliveries may be appended; how many."""
        if self.since is None:
            self.since = self._clock.monotonic()
        while True:
            endpoint = self.look()
            if self.yielding:
                raise Leave("parked")
            free = self._window.free(replaying.window_of(endpoint), self._clock.monotonic())
            if free > 0:
                return free
            self._moved.clear()
            await _either(self._moved.wait(), self._clock.sleep(LOOK_S))

    async def append(self, items: Sequence[Item]) -> None:
        """Append deliveries; returns when all are acknowledged."""
        acks = []
        in_line = self.look().ordering == "fifo"
        for item in items:
            self._window.sent(item.delivery_id, self._clock.monotonic())
            topic = self._ordered if in_line and item.has_ordering_key else self._deliveries
            acks.append(
                await self.around.log.append(
                    topic, key=self.key, value=item.value, headers=item.headers, partition=self.number
                )
            )
        await asyncio.gather(*acks)
        self.sent += len(items)
        self._grown.set()

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
