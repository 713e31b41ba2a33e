"""The replay worker with everything context it in memory, for its tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.core.errors import Unavailable
from app.core.model.endpoint import Endpoint
from app.core.model.replay import OldestRecord, Replay
from app.core.records import idempotency_entry
from app.core.records.command import (
    AdvanceReplay,
    Command,
    CommandAction,
    CommandReply,
    ReactivateEndpoint,
    SuspendEndpoint,
)
from app.core.records.registry import apply, encode
from app.core.schemas.rules import Violation
from app.core.topics.names import TopicName
from app.roles.registry.decisions import decide
from app.roles.replay.role.appender import ReplayContext
from app.roles.replay.role.coordinator import ReplayRole
from app.roles.replay.role.selector import ReplaySources
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.source import MemoryGroup

TOPICS = topics_of(Settings(topic_prefix="", partitions=2, replication_factor=1))
WORKER = (TopicName.REGISTRY_COMMANDS, 0)
CHANGELOG = "changelog"
#: the partition of every endpoint here
NUMBER = 1


class MemoryReading:
    """`app.ports.history.PartitionReader`."""

    def __init__(self, reader: MemoryReader, topic: str, starts: Mapping[int, int]) -> None:
        self._reader = reader
        self._topic = topic
        self._at = dict(starts)
        reader.readings += 1

    async def poll(
        self, partitions: Collection[int], *, timeout_ms: int, max_records: int
    ) -> dict[int, list[MemoryRecord]]:
        waiting = asyncio.ensure_future(self._reader.clock.sleep(timeout_ms / 1000))
        try:
            while not (batches := self._fetched(partitions, max_records)) and not waiting.done():
                await asyncio.wait([waiting, self._reader.log.pulse.next()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return batches

    def _fetched(self, partitions: Collection[int], most: int) -> dict[int, list[MemoryRecord]]:
        batches: dict[int, list[MemoryRecord]] = {}
        for number in partitions:
            records = self._reader.log.partitions[self._topic, number][self._at[number] :][:most]
            if records:
                batches[number] = records
                self._at[number] = records[-1].offset + 1
        return batches

    async def position(self, partition: int) -> int:
        marks = self._reader.marks.get((self._topic, partition), 0)
        written = len(self._reader.log.partitions[self._topic, partition])
        return self._at[partition] + (marks if self._at[partition] == written else 0)

    async def close(self) -> None:
        self._reader.readings -= 1


class MemoryReader:
    """`app.ports.history.HistoryReader`."""

    def __init__(self, log: MemoryLog, clock: FakeClock) -> None:
        self.log = log
        self.clock = clock
        self.committed: dict[int, int] = {}
        #: offsets at the end that hold no record
        self.marks: dict[tuple[str, int], int] = {}
        self.readings = 0
        self.lagging = False

    async def open(self, topic: str, starts: Mapping[int, int]) -> MemoryReading:
        return MemoryReading(self, topic, starts)

    async def ends(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        marks = {number: self.marks.get((topic, number), 0) for number in partitions}
        return {number: len(self.log.partitions[topic, number]) + marks[number] for number in partitions}

    async def oldest(self, topic: str, partitions: Collection[int]) -> dict[int, OldestRecord]:
        batches = {number: self.log.partitions[topic, number][:1] for number in partitions}
        return {number: OldestRecord(0, first[0].timestamp if first else None) for number, first in batches.items()}

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        records = self.log.partitions[topic, partition]
        return next((each.offset for each in records if each.timestamp >= timestamp_ms), len(records))

    async def fanned_out(self) -> dict[int, int]:
        return self.committed

    async def sequenced(self) -> dict[int, int]:
        """The sequencer has finished everything, unless a test makes it lag."""
        return {} if self.lagging else await self.ends(TopicName.DELIVERIES_ORDERED, range(2))

    async def close(self) -> None:
        pass


class Stage:
    """A worker with everything context it in memory; the registry is the real decisions."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.feed = MemoryFeed()
        self.reader = MemoryReader(self.log, self.clock)
        self.group = MemoryGroup(self.log, [TopicName.REGISTRY_COMMANDS], self.clock)
        self.source = self.group.member()
        #: the role's reports of progress
        self.reports: list[AdvanceReplay] = []
        self.silent = False
        self.past = ReplaySources(
            reader=self.reader,
            feed=self.feed,
            clock=self.clock,
            topics=TOPICS,
            partition_of=lambda endpoint: NUMBER,
            changelog=CHANGELOG,
            max_event_bytes=10_000,
            violation=lambda event_type, data: Violation("schema", "it is wrong") if b"wrong" in data else None,
        )
        self.role = ReplayRole(self.source, ReplayContext(self.past, self.log, self._connected))
        self.running = asyncio.create_task(self.role.run())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Stage]:
        yield self

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """`app.ports.registry.CommandSender`."""
        await asyncio.sleep(0)
        if self.silent:
            raise Unavailable("no registry answers")
        assert isinstance(action, AdvanceReplay)
        self.reports.append(action)
        self.do(action)
        return CommandReply(command_id="c", ok=True)

    def do(self, action: CommandAction) -> None:
        """A command is applied."""
        command = Command(id="c", issued_at_ms=0, action=action)
        for change in decide(command, self.feed.directory, self.clock.now_ms(), {"standard"}):
            apply(self.feed.directory, change.key, encode(change.value))
        self.feed.move(self.feed.position + 1)

    async def start(self) -> None:
        await settle()
        await self.source.assign(WORKER)
        await self.clock.advance(1)  # until the next look

    async def stop(self) -> None:
        self.clock.auto = True
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        assert not self.source.running and self.reader.readings == 0, "a reading was left open"

    def endpoint(self, name: str = "ep", **fields: Any) -> None:
        endpoint = Endpoint(id=name, tenant="t", mode="live", url="https://e.x", events=("a.*",), profile="standard")
        self.feed.directory.put_endpoint(msgspec.structs.replace(endpoint, **fields))

    def aside(self, serial: int, *, accepted: int | None = None, key: str = "ep", reason: str = "paused") -> None:
        """A delivery that was put aside."""
        headers = [
            ("delivery-id", b"d%d" % serial),
            ("accepted-at", b"%d" % (serial if accepted is None else accepted)),
            ("reason", reason.encode()),
            ("last-result", b"paused"),
        ]
        value = b"%d" % serial
        self.log.put(TopicName.DELIVERIES_DEAD, key=key.encode(), value=value, headers=headers, partition=NUMBER)

    def raw(self, partition: int, at: int, sequence: int | None = None, **fields: Any) -> MemoryRecord:
        """An event; with a sequence fan-out has left its sight in the changelog."""
        event = {"type": "a.b", "data": {}, "tenant": "t", **fields}
        value = json.dumps(event).encode()
        record = self.log.put(TopicName.EVENTS_RAW, value=value, partition=partition, timestamp=at)
        if sequence is not None:
            sight = idempotency_entry.encode(
                (idempotency_entry.AcceptedRecord(partition, record.offset, at, sequence),)
            )
            self.log.put(CHANGELOG, key=b"k", value=sight, partition=partition)
        self.reader.committed[partition] = record.offset + 1
        return record

    def ends(self, topic: str) -> dict[int, int]:
        return {number: len(self.log.partitions[topic, number]) for number in range(2)}

    def suspend(self, status: Any = "paused", name: str = "ep") -> None:
        dead = self.ends(TopicName.DELIVERIES_DEAD)[NUMBER]
        self.do(SuspendEndpoint(name, status, self.ends(TopicName.EVENTS_RAW), dead))

    def reactivate(self, replay_id: str = "rpl", name: str = "ep") -> None:
        self.do(ReactivateEndpoint(name, self.ends(TopicName.EVENTS_RAW), replay_id))

    def attempt(self, record: MemoryRecord) -> None:
        """The delivery was attempted."""
        value = json.dumps({"delivery_id": record.header("delivery-id"), "state": "retrying"}).encode()
        self.log.put(TopicName.ATTEMPTS, key=record.key, value=value, partition=NUMBER)

    def appended(self) -> list[MemoryRecord]:
        return self.log.of(TopicName.DELIVERIES)

    def values(self) -> list[int]:
        return [int(record.value or b"") for record in self.appended()]

    def replay(self, replay_id: str = "rpl") -> Replay:
        return self.feed.directory.replays[replay_id]

    async def attempt_all(self, seconds: int) -> None:
        """The endpoint takes everything within a tenth of a second."""
        seen = 0
        for _ in range(seconds * 10):
            for record in self.appended()[seen:]:
                self.attempt(record)
            seen = max(seen, len(self.appended()))
            await self.clock.advance(0.1)
