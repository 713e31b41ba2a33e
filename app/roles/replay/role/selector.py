"""Find the deliveries that a replay of events.raw makes, piece by piece; the work itself and a trial run share it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from app.core.directory import Directory
from app.core.errors import MalformedEvent
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.records.headers import RecordHeader
from app.core.records.raw_event import Coordinates, data_of, decode_event
from app.core.records.record import ConsumedRecord
from app.core.schemas.rules import Violation
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.history import HistoryReader, PartitionReader
from app.ports.registry import DirectoryFeed
from app.roles.replay import eligibility, selection
from app.roles.replay import merge as merge_
from app.roles.replay.selection import EventChunk

log = structlog.get_logger(__name__)

#: between two looks at the directory
LOOK_S = 1.0
POLL_MS = 1000
POLLED = 200
#: matching deliveries of one piece of a stretch; eight replays at once have half a million in all
PIECE = 62_500
#: what the clocks of two processes may differ by
_CLOCKS_MS = 60_000


class ReplaySources(NamedTuple):
    """The log as it was, and what is needed to understand it."""

    reader: HistoryReader
    feed: DirectoryFeed
    clock: Clock
    topics: Topics
    #: the partition of an endpoint's deliveries
    partition_of: Callable[[str], int]
    #: the topic of the fan-out's table of first sights
    changelog: str
    max_event_bytes: int
    #: where data breaks its type's schema
    violation: Callable[[EventType, bytes], Violation | None]

    @property
    def directory(self) -> Directory:
        """The registry as far as it has been read."""
        return self.feed.directory


class _Said(msgspec.Struct):
    event_id: str
    state: str
    reason: str | None = None


_said = msgspec.json.Decoder(_Said)


class EventSelector:
    """The choice of one replay."""

    def __init__(self, replay: Replay, archive: ReplaySources, look: Callable[[], None]) -> None:
        """`look` is called between two steps; it raises what ends the work."""
        self._replay = replay
        self._archive = archive
        self._look = look
        self._events = archive.topics.name(TopicName.EVENTS_RAW)

    async def present(self, ends: Mapping[int, int]) -> dict[int, int]:
        """The ends, as far as the log still goes: what it has lost since can be waited for without end."""
        there = await self._archive.reader.ends(self._events, list(ends))
        shorter = {number: there[number] for number, end in ends.items() if there[number] < end}
        if shorter:
            log.error("replay.log_shorter", replay=self._replay.id, wanted=dict(ends), ends=shorter)
        return {number: min(end, there[number]) for number, end in ends.items()}

    async def until_fanned_out(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Before, nobody knows yet which of the events are duplicates, and which sequences they have."""
        before: dict[int, int] = {}
        while True:
            self._look()
            known = await self._archive.reader.fanned_out()
            behind = {
                number: known.get(number, 0)
                for number, end in ends.items()
                if begins[number] < end and known.get(number, 0) < end
            }
            if not behind or (behind == before and not await self._holds_records(behind, ends)):
                return
            before = behind
            await self._archive.clock.sleep(LOOK_S)

    async def _holds_records(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """What follows may be no records at all (the marks of transactions): nobody will ever commit beyond."""
        stretch = await self.stretch(begins, ends)
        try:
            return await stretch.next() is not None
        finally:
            await stretch.close()

    async def survey(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> tuple[EventChunk, dict[int, int]]:
        """Find the next events that match, and where they end; what the log says about them is known then."""
        piece = EventChunk(self._replay.only)
        stretch = await self.stretch(begins, ends)
        try:
            while piece.size < PIECE and (record := await stretch.next()) is not None:
                found = self.matching(record)
                if found is not None:
                    piece.want(found[0], record, found[1])
            until = stretch.merge.positions()
        finally:
            await stretch.close()
        if piece.size:
            await self._learn(piece)
        return piece, until

    async def recognise(self, piece: EventChunk) -> None:
        """Find what the replay has handed out since the registry was told for the last time how far it is."""
        endpoints = [each for each in map(self._archive.directory.endpoint, piece.recipients) if each is not None]
        mine = ("replay-id", self._replay.id.encode())
        for topic, those in self._handed_out(endpoints, TopicName.DELIVERIES_DEAD):
            async for record in self._told(topic, those, max(0, self._replay.created_at_ms - _CLOCKS_MS)):
                if mine in record.headers:
                    fate: eligibility.ReplayRoute = "park" if ("reason", b"paused") in record.headers else "deliver"
                    key = (record.key or b"").decode("utf-8", "replace")
                    piece.made(key, _header(record.headers, "event-id"), fate)

    def event_of(self, record: ConsumedRecord) -> Event | None:
        """The event of a record, when it is the replay's tenant's and mode's."""
        at = Coordinates(self._events, record.partition, record.offset, record.timestamp)
        try:
            event = decode_event(record.value, record.headers, at, max_bytes=self._archive.max_event_bytes)
        except MalformedEvent:
            return None
        return event if (event.tenant, event.mode) == (self._replay.tenant, self._replay.mode) else None

    def matching(self, record: ConsumedRecord) -> tuple[Event, tuple[str, ...]] | None:
        """The event of a record, and the endpoints that would get it now."""
        event = self.event_of(record)
        if event is None:
            return None
        found = selection.targets(self._replay, self._archive.directory, event.type)
        return (event, found) if found and not self._rejected(event) else None

    def _rejected(self, event: Event) -> bool:
        """Whether its type's schema refuses it; where fan-out has left a sight, that is what counts."""
        known = self._archive.directory.event_types.get((event.tenant, event.mode, event.type))
        if known is None or known.enforce != "reject" or selection.has_key(event):
            return False
        return self._archive.violation(known, data_of(event.body, event.format)) is not None

    async def _learn(self, piece: EventChunk) -> None:
        """Read what fan-out decided about them, and what has become of their deliveries."""
        since_ms = piece.since_ms(self._replay, self._archive.directory.endpoint(self._replay.endpoint_id))
        changelog = self._archive.changelog
        async for record in self._told(changelog, piece.partitions, since_ms):
            piece.learn(record.partition, record.value)
        endpoints = [each for each in map(self._archive.directory.endpoint, piece.endpoints) if each is not None]
        if not endpoints:
            return
        numbers = sorted({self._archive.partition_of(each.id) for each in endpoints})
        await self._learn_ends(piece, endpoints, numbers, since_ms)
        name = self._archive.topics.name
        async for record in self._told(name(TopicName.ATTEMPTS), numbers, since_ms):
            _attempted(piece, record)
        if self._replay.only == "missing":
            for topic, those in self._handed_out(endpoints):
                async for record in self._told(topic, those, since_ms):
                    _named(piece, record, "under way")

    async def _learn_ends(
        self, piece: EventChunk, endpoints: Collection[Endpoint], numbers: list[int], since_ms: int
    ) -> None:
        """Deliveries that were given up, some without an attempt, and those that wait for a resume."""
        resumed = {each.id.encode() for each in endpoints if selection.waits_for_resume(each, self._archive.directory)}
        async for record in self._told(self._archive.topics.name(TopicName.DELIVERIES_DEAD), numbers, since_ms):
            if ("reason", b"paused") not in record.headers:
                _named(piece, record, "dead")
            elif record.key in resumed:
                _named(piece, record, "retrying")

    def _handed_out(self, endpoints: Collection[Endpoint], *more: str) -> list[tuple[str, list[int]]]:
        """Where deliveries for these are that are going to be attempted, and in which partitions."""
        numbers = sorted({self._archive.partition_of(each.id) for each in endpoints})
        in_line = sorted({self._archive.partition_of(each.id) for each in endpoints if each.ordering == "fifo"})
        name = self._archive.topics.name
        found = [(name(TopicName.DELIVERIES), numbers), (name(TopicName.DELIVERIES_ORDERED), in_line)]
        return found + [(name(each), numbers) for each in more]

    async def _told(self, topic: str, numbers: Collection[int], since_ms: int) -> AsyncGenerator[ConsumedRecord]:
        reader = self._archive.reader
        starts = {number: await reader.offset_at(topic, number, since_ms) for number in numbers}
        if not starts:
            return
        stretch = await self.stretch(starts, await reader.ends(topic, list(starts)), topic)
        try:
            while (record := await stretch.next()) is not None:
                yield record
        finally:
            await stretch.close()

    async def stretch(
        self, begins: Mapping[int, int], ends: Mapping[int, int], topic: str | None = None
    ) -> MergedReader:
        """Read a part of a topic (events.raw)."""
        reading = await self._archive.reader.open(topic or self._events, begins)
        return MergedReader(reading, merge_.TimestampMerge(begins, ends), self._look)


class MergedReader:
    """Stretches of a topic's partitions, read in the order of the records' timestamps."""

    def __init__(self, reading: PartitionReader, merge: merge_.TimestampMerge, look: Callable[[], None]) -> None:
        self._reading = reading
        self.merge = merge
        self._look = look
        self.close = reading.close

    async def next(self) -> ConsumedRecord | None:
        """The next record; None: that was all."""
        while hungry := self.merge.hungry():
            self._look()
            batches = await self._reading.poll(hungry, timeout_ms=POLL_MS, max_records=POLLED)
            for number in hungry:
                records: Sequence[Record] = batches.get(number, ())
                self.merge.feed(number, records, await self._reading.position(number))
        return self.merge.take()


def _attempted(piece: EventChunk, record: ConsumedRecord) -> None:
    """A record of attempts."""
    key = (record.key or b"").decode("utf-8", "replace")
    if key not in piece.endpoints or record.value is None:
        return
    try:
        said = _said.decode(record.value)
    except msgspec.MsgspecError:
        return
    # what a pause has put aside has not failed: deliveries.dead says whether it still waits
    if said.reason != "paused":
        piece.said(key, said.event_id, record.timestamp, said.state)


def _named(piece: EventChunk, record: ConsumedRecord, state: str) -> None:
    """A record of a delivery."""
    key = (record.key or b"").decode("utf-8", "replace")
    if key in piece.endpoints:
        event_id = _header(record.headers, "event-id")
        piece.said(key, event_id, record.timestamp, state)


def _header(headers: Sequence[RecordHeader], wanted: str) -> str:
    return next((text.decode("utf-8", "replace") for name, text in headers if name == wanted and text), "")
