"""Select the deliveries of a replay of events.raw, chunk by chunk; for the replay itself and for dry runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from app.core.directory import Directory
from app.core.errors import MalformedEvent
from app.core.filters.verdicts import CompiledFilters, EventVerdicts
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.records.headers import RecordHeader
from app.core.records.raw_event import Coordinates, data_of, decode_event, fields_of
from app.core.records.record import ConsumedRecord
from app.core.schemas.rules import Violation
from app.core.subjects import SubjectVault
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.history import HistoryReader, PartitionReader
from app.ports.registry import DirectoryFeed
from app.roles.replay import eligibility, selection
from app.roles.replay.merge import TimestampMerge
from app.roles.replay.selection import EventChunk

logger = structlog.get_logger(__name__)

#: seconds between two checks of the directory
CHECK_S = 1.0
POLL_MS = 1000
POLLED = 200
#: matching deliveries of one chunk; eight replays at the same time have half a million
CHUNK = 62_500
#: steps of filters after which other tasks have their turn: 50 ms
_STEPS = 200_000
#: milliseconds by which the clocks of two processes may differ
_CLOCKS_MS = 60_000


class ReplaySources(NamedTuple):
    """The historical log and the objects needed to decode it."""

    reader: HistoryReader
    feed: DirectoryFeed
    clock: Clock
    topics: Topics
    #: endpoint id → the partition of its deliveries
    partition_of: Callable[[str], int]
    #: the changelog of fan-out's idempotency table
    changelog: str
    max_event_bytes: int
    #: checks data against the schema of its type
    violation: Callable[[EventType, bytes], Violation | None]
    subjects: SubjectVault | None = None

    @property
    def directory(self) -> Directory:
        """The directory of this process."""
        return self.feed.directory


class _Outcome(msgspec.Struct):
    event_id: str
    state: str
    reason: str | None = None


_outcome = msgspec.json.Decoder(_Outcome)


class EventSelector:
    """Selects the events of one replay."""

    def __init__(
        self, replay: Replay, sources: ReplaySources, check: Callable[[], None], *, counts_filtered: bool = False
    ) -> None:
        """`check` is called between two steps; it raises an error to end the work.

        `counts_filtered`: chunks also have the events that all filters refuse.
        """
        self._replay = replay
        self._sources = sources
        self._check = check
        self._counts_filtered = counts_filtered
        self._filters = CompiledFilters()
        self._steps = 0
        self._events = sources.topics.name(TopicName.EVENTS_RAW)

    async def present(self, ends: Mapping[int, int]) -> dict[int, int]:
        """The end offsets, lowered to those of the log: records that the log has lost will never come."""
        current = await self._sources.reader.ends(self._events, list(ends))
        shorter = {number: current[number] for number, end in ends.items() if current[number] < end}
        if shorter:
            logger.error("replay.log_shorter", replay=self._replay.id, wanted=dict(ends), ends=shorter)
        return {number: min(end, current[number]) for number, end in ends.items()}

    async def until_fanned_out(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Wait until fan-out has committed past the range; duplicates and sequences are decided only then."""
        before: dict[int, int] = {}
        while True:
            self._check()
            committed = await self._sources.reader.fanned_out()
            behind = {
                number: committed.get(number, 0)
                for number, end in ends.items()
                if begins[number] < end and committed.get(number, 0) < end
            }
            if not behind or (behind == before and not await self._has_records(behind, ends)):
                return
            before = behind
            await self._sources.clock.sleep(CHECK_S)

    async def _has_records(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether a range has records; if it has only transaction markers, fan-out never commits past them."""
        merged = await self.open_range(begins, ends)
        try:
            return await merged.next() is not None
        finally:
            await merged.close()

    async def survey(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> tuple[EventChunk, dict[int, int]]:
        """Read the next matching events with their outcomes; returns them and the offsets at which they end."""
        chunk = EventChunk(self._replay.only)
        merged = await self.open_range(begins, ends)
        try:
            while chunk.size < CHUNK and (record := await merged.next()) is not None:
                match = self.matching(record)
                if match is not None:
                    accepting = await self._accepting(*match)
                    if accepting or self._counts_filtered:
                        refused = len(match[1]) - len(accepting) if self._counts_filtered else 0
                        chunk.add_event(match[0], record, accepting, filtered=refused)
            until = merged.merge.positions()
        finally:
            await merged.close()
        if chunk.size:
            await self._read_outcomes(chunk)
        return chunk, until

    async def find_handed_out(self, chunk: EventChunk) -> None:
        """Find the deliveries that the replay has handed out since its last report of progress."""
        endpoints = [each for each in map(self._sources.directory.endpoint, chunk.recipients) if each is not None]
        mine = ("replay-id", self._replay.id.encode())
        for topic, those in self._handed_out(endpoints, TopicName.DELIVERIES_DEAD):
            async for record in self._records(topic, those, max(0, self._replay.created_at_ms - _CLOCKS_MS)):
                if mine in record.headers:
                    route: eligibility.ReplayRoute = "park" if ("reason", b"paused") in record.headers else "deliver"
                    key = (record.key or b"").decode("utf-8", "replace")
                    chunk.add_handed_out(key, _header(record.headers, "event-id"), route)

    def event_of(self, record: ConsumedRecord) -> Event | None:
        """The event of a record; None if it cannot be decoded, is erased, or of another tenant or mode."""
        at = Coordinates(self._events, record.partition, record.offset, record.timestamp)
        try:
            event = decode_event(record.value, record.headers, at, max_bytes=self._sources.max_event_bytes)
        except MalformedEvent:
            return None
        if (event.tenant, event.mode) != (self._replay.tenant, self._replay.mode):
            return None
        subjects = self._sources.subjects
        erased = event.subject is not None and subjects is not None and subjects.is_erased(event, record.timestamp)
        return None if erased else event

    def matching(self, record: ConsumedRecord) -> tuple[Event, tuple[str, ...]] | None:
        """The event of a record and its target endpoints; None if it has none."""
        event = self.event_of(record)
        if event is None or self._has_expired(event):
            return None
        directory = self._sources.directory
        targets = selection.on_channels(selection.targets(self._replay, directory, event.type), event, directory)
        return (event, targets) if targets and not self._rejected(event) else None

    def _has_expired(self, event: Event) -> bool:
        return event.expires_at_ms is not None and self._sources.clock.now_ms() >= event.expires_at_ms

    async def _accepting(self, event: Event, targets: tuple[str, ...]) -> tuple[str, ...]:
        """The target endpoints whose filters accept the event. Other tasks have their turn between costly filters."""
        endpoints = map(self._sources.directory.endpoint, targets)
        filters = {each.id: each.filter for each in endpoints if each is not None and each.filter is not None}
        if not filters:
            return targets
        verdicts = EventVerdicts(self._filters, partial(fields_of, event))
        accepting = []
        for each in targets:
            before = verdicts.steps
            filter_ = filters.get(each)
            if filter_ is None or verdicts.accepts(filter_):
                accepting.append(each)
            self._steps += verdicts.steps - before
            if self._steps > _STEPS:
                self._steps = 0
                await self._sources.clock.sleep(0)
        return tuple(accepting)

    def _rejected(self, event: Event) -> bool:
        """Whether the schema of its type rejects an event about which fan-out has not stored a decision."""
        event_type = self._sources.directory.event_type(event.tenant, event.mode, event.type)
        if event_type is None or event_type.enforce != "reject" or selection.has_key(event):
            return False
        return self._sources.violation(event_type, data_of(event.body, event.format)) is not None

    async def _read_outcomes(self, chunk: EventChunk) -> None:
        """Read fan-out's decisions about the events, and the outcomes of their deliveries."""
        since_ms = chunk.since_ms(self._replay, self._sources.directory.endpoint(self._replay.endpoint_id))
        changelog = self._sources.changelog
        async for record in self._records(changelog, chunk.partitions, since_ms):
            chunk.add_decisions(record.partition, record.value)
        endpoints = [each for each in map(self._sources.directory.endpoint, chunk.endpoints) if each is not None]
        if not endpoints:
            return
        numbers = sorted({self._sources.partition_of(each.id) for each in endpoints})
        await self._read_dead_letters(chunk, endpoints, numbers, since_ms)
        name = self._sources.topics.name
        async for record in self._records(name(TopicName.ATTEMPTS), numbers, since_ms):
            _attempted(chunk, record)
        if self._replay.only == "missing":
            for topic, those in self._handed_out(endpoints):
                async for record in self._records(topic, those, since_ms):
                    _named(chunk, record, "under way")

    async def _read_dead_letters(
        self, chunk: EventChunk, endpoints: Collection[Endpoint], numbers: list[int], since_ms: int
    ) -> None:
        """Read which deliveries are dead, some without an attempt, and which are parked for a resume."""
        resumed = {each.id.encode() for each in endpoints if selection.waits_for_resume(each, self._sources.directory)}
        async for record in self._records(self._sources.topics.name(TopicName.DELIVERIES_DEAD), numbers, since_ms):
            if ("reason", b"paused") not in record.headers:
                _named(chunk, record, "dead")
            elif record.key in resumed:
                _named(chunk, record, "retrying")

    def _handed_out(self, endpoints: Collection[Endpoint], *more: str) -> list[tuple[str, list[int]]]:
        """The topics and partitions that have deliveries of these endpoints which will be attempted."""
        numbers = sorted({self._sources.partition_of(each.id) for each in endpoints})
        ordered = sorted({self._sources.partition_of(each.id) for each in endpoints if each.ordering == "fifo"})
        name = self._sources.topics.name
        places = [(name(TopicName.DELIVERIES), numbers), (name(TopicName.DELIVERIES_ORDERED), ordered)]
        return places + [(name(each), numbers) for each in more]

    async def _records(self, topic: str, numbers: Collection[int], since_ms: int) -> AsyncGenerator[ConsumedRecord]:
        reader = self._sources.reader
        starts = {number: await reader.offset_at(topic, number, since_ms) for number in numbers}
        if not starts:
            return
        merged = await self.open_range(starts, await reader.ends(topic, list(starts)), topic)
        try:
            while (record := await merged.next()) is not None:
                yield record
        finally:
            await merged.close()

    async def open_range(
        self, begins: Mapping[int, int], ends: Mapping[int, int], topic: str | None = None
    ) -> MergedReader:
        """Open a range of a topic, by default of events.raw."""
        reading = await self._sources.reader.open(topic or self._events, begins)
        return MergedReader(reading, TimestampMerge(begins, ends), self._check)


class MergedReader:
    """Reads ranges of a topic's partitions in the order of the records' timestamps."""

    def __init__(self, reading: PartitionReader, merge: TimestampMerge, check: Callable[[], None]) -> None:
        self._reading = reading
        self.merge = merge
        self._check = check
        self.close = reading.close

    async def next(self) -> ConsumedRecord | None:
        """The next record; None at the end."""
        while partitions_to_read := self.merge.partitions_to_read():
            self._check()
            batches = await self._reading.poll(partitions_to_read, timeout_ms=POLL_MS, max_records=POLLED)
            for number in partitions_to_read:
                records: Sequence[Record] = batches.get(number, ())
                self.merge.add(number, records, await self._reading.position(number))
        return self.merge.take()


def _attempted(chunk: EventChunk, record: ConsumedRecord) -> None:
    """Add the outcome of a record of attempts."""
    key = (record.key or b"").decode("utf-8", "replace")
    if key not in chunk.endpoints or record.value is None:
        return
    try:
        outcome = _outcome.decode(record.value)
    except msgspec.MsgspecError:
        return
    # a parked delivery has not failed: deliveries.dead shows whether it still waits
    if outcome.reason != "paused":
        chunk.add_outcome(key, outcome.event_id, record.timestamp, outcome.state)


def _named(chunk: EventChunk, record: ConsumedRecord, state: str) -> None:
    """Add a state of the delivery of a record."""
    key = (record.key or b"").decode("utf-8", "replace")
    if key in chunk.endpoints:
        event_id = _header(record.headers, "event-id")
        chunk.add_outcome(key, event_id, record.timestamp, state)


def _header(headers: Sequence[RecordHeader], wanted: str) -> str:
    return next((text.decode("utf-8", "replace") for name, text in headers if name == wanted and text), "")
