"""Streams of events: one reader of events.raw for each process, however many clients follow it.

Rules of this file
- The reader exists while there are streams, and begins at the end of the log. Each event becomes one frame, which all
  streams of its tenant and mode share.
- The id of a frame is the reader's position after it: for each partition the offset of the next record. A client that
  reconnects with that id gets what it missed, read from Kafka within limits, and then what follows.
- A client that does not keep up, or may not read any more, is disconnected with the reason in the last frame.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import msgspec
import structlog

from app.api.contract.events import StreamedEvent
from app.api.handlers.event_payloads import shown_event
from app.api.problems import ApiError
from app.api.request import ApiServices, Caller
from app.api.server.streaming import frame_of
from app.api.turnstile import Turnstile
from app.core.errors import HookstreamError, MalformedEvent, Unavailable
from app.core.model.event_types import includes
from app.core.model.timestamps import iso
from app.core.records.raw_event import Coordinates, data_of, decode_event
from app.core.topics.names import TopicName
from app.ports.consumer import Record
from app.ports.history import PartitionReader

logger = structlog.get_logger(__name__)

#: streams of one process, tenant and key
MAX_STREAMS, MAX_OF_TENANT, MAX_OF_KEY = 100, 20, 10
#: frames, and their bytes, that wait for one client; one frame of any size may
MAX_FRAMES, MAX_BYTES = 1000, 1024 * 1024
#: records that are read for one client that reconnects, the seconds for it, and how many clients at once
MAX_MISSED, MISSED_S, AT_ONCE = 100_000, 30.0, 2
BEAT_S = 15.0
#: a caller without permission is disconnected within that time
LOOK_S = 1.0
_POLL_MS, _POLLED = 500, 500

Positions = Mapping[int, int]
_encoder = msgspec.json.Encoder()


class StreamSubscription:
    """The frames of one client."""

    def __init__(self, hub: StreamHub, caller: Caller, patterns: Sequence[str], allowed: Callable[[], bool]) -> None:
        self.caller = caller
        self.allowed = allowed
        self._hub = hub
        self._patterns = patterns
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._end: bytes | None = None
        self._wake = asyncio.Event()
        #: where the client continues, and where the reader was when the client joined
        self._begin: Positions = {}
        self._joined: Positions = {}

    def join(self, begin: Positions, joined: Positions) -> None:
        """Set the position from which the client continues, and that of the reader."""
        self._begin, self._joined = begin, joined

    def wants(self, event_type: str) -> bool:
        """Whether the client asked for events of that type."""
        return any(includes(pattern, event_type) for pattern in self._patterns)

    def put(self, frame: bytes) -> None:
        """Add a frame; end the stream if too many wait."""
        if self._end is not None:
            return
        if self._queue and (len(self._queue) >= MAX_FRAMES or self._bytes + len(frame) > MAX_BYTES):
            self.end("slow", "the client reads more slowly than events arrive: connect again with the last id")
            return
        self._queue.append(frame)
        self._bytes += len(frame)
        self._wake.set()

    def end(self, reason: str, detail: str) -> None:
        """End the stream with a last frame that has the reason; frames that still wait are dropped."""
        if self._end is None:
            self._end = _named("end", {"reason": reason, "detail": detail})
            self._queue.clear()
            self._wake.set()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames, until the stream is ended from either side."""
        try:
            about = {"tenant": self.caller.tenant, "mode": self.caller.mode}
            yield b"retry: 2000\n" + _named("ready", about, position_text(self._begin))
            async for frame in self._hub.missed(self, self._begin, self._joined):
                yield frame
            while True:
                while self._queue:
                    frame = self._queue.popleft()
                    self._bytes -= len(frame)
                    yield frame
                if self._end is not None:
                    yield self._end
                    return
                self._wake.clear()
                await self._wake.wait()
        finally:
            self.close()

    def close(self) -> None:
        """End the stream from the client's side."""
        self._hub.leave(self)


class StreamHub:
    """The streams of one process."""

    def __init__(self, api: ApiServices) -> None:
        self._api = api
        self._topic = api.topics.name(TopicName.EVENTS_RAW)
        self._turns = Turnstile("stream that catches up", at_once=AT_ONCE, wait_s=MISSED_S)
        self._open: dict[StreamSubscription, None] = {}
        self._count: Counter[tuple[str, str]] = Counter()
        self._by_owner: dict[tuple[str, str], dict[StreamSubscription, None]] = {}
        self._positions: dict[int, int] = {}
        self._opening = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    def streams(self) -> int:
        """The number of open streams."""
        return len(self._open)

    async def subscribe(
        self, caller: Caller, patterns: Sequence[str], allowed: Callable[[], bool], last_id: str = ""
    ) -> StreamSubscription:
        """A stream of the caller's events. Raises `ApiError` 400 and 429, and `Unavailable`."""
        begin = positions_of(last_id) if last_id else None
        subscription = StreamSubscription(self, caller, patterns, allowed)
        self._admit(subscription)
        try:
            async with self._opening:
                if self._reading is None:
                    self._positions = dict(await self._api.ends.ends(self._topic))
                    reader = await self._api.past.open(self._topic, self._positions)
                    self._reading = asyncio.create_task(self._read(reader))
        except BaseException:
            self.leave(subscription)
            raise
        joined = dict(self._positions)
        subscription.join(_within(begin, joined) if begin is not None else joined, joined)
        self._by_owner.setdefault((caller.tenant, caller.mode), {})[subscription] = None
        return subscription

    def leave(self, subscription: StreamSubscription) -> None:
        """Remove a stream; the reader ends with the last one."""
        if subscription not in self._open:
            return
        del self._open[subscription]
        self._count.subtract(account for account, _ in _accounts(subscription.caller))
        self._count = +self._count
        owner = subscription.caller.tenant, subscription.caller.mode
        mates = self._by_owner.get(owner, {})
        mates.pop(subscription, None)
        if not mates:
            self._by_owner.pop(owner, None)
        if not self._open and self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def close(self) -> None:
        """End all streams, because the process stops."""
        for subscription in list(self._open):
            subscription.end("stopping", "this process stops: connect again")
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def missed(
        self, subscription: StreamSubscription, begin: Positions, until: Positions
    ) -> AsyncGenerator[bytes, None]:
        """The frames between two positions; one frame `gap` where they are too many, or cannot be read."""
        behind = {number: begin[number] for number in until if begin[number] < until[number]}
        if not behind:
            return
        reason = ""
        try:
            async with self._turns.turn(subscription.caller.tenant):
                async for frame in self._reread(subscription, behind, until):
                    yield frame
        except TimeoutError:
            reason = f"only events that can be read within {MISSED_S:.0f} s and {MAX_MISSED:,} records are caught up"
        except (HookstreamError, ApiError) as error:
            reason = str(error)
        if reason:
            yield _named("gap", {"detail": reason}, position_text(until))

    async def _reread(
        self, subscription: StreamSubscription, behind: Positions, until: Positions
    ) -> AsyncGenerator[bytes, None]:
        at, left, read = {**until, **behind}, set(behind), 0
        deadline_s = self._api.clock.monotonic() + MISSED_S
        reader = await self._api.past.open(self._topic, behind)
        try:
            while left:
                polled = await reader.poll(left, timeout_ms=_POLL_MS, max_records=_POLLED)
                for record in (each for records in polled.values() for each in records):
                    if record.offset < until[record.partition]:
                        at[record.partition] = record.offset + 1
                        frame = self._frame(record, at, subscription)
                        if frame is not None:
                            yield frame
                    read += 1
                left = {number for number in left if await reader.position(number) < until[number]}
                if left and (read > MAX_MISSED or self._api.clock.monotonic() > deadline_s):
                    raise TimeoutError
        finally:
            await reader.close()

    def _frame(self, record: Record, at: Positions, subscription: StreamSubscription) -> bytes | None:
        """The frame of a record that one client missed; None if it is not for that client."""
        event = self._decoded(record)
        owner = subscription.caller.tenant, subscription.caller.mode
        if event is None or event[0] != owner or not subscription.wants(event[1].type):
            return None
        return frame_of("event", _encoder.encode(event[1]), position_text(at))

    def _admit(self, subscription: StreamSubscription) -> None:
        accounts = _accounts(subscription.caller)
        if any(self._count[account] >= most for account, most in accounts):
            detail = (
                f"at most {MAX_OF_KEY} streams of a key, {MAX_OF_TENANT} of a tenant and {MAX_STREAMS} of a process"
            )
            raise ApiError(429, "too_many_streams", detail, headers={"Retry-After": "5"})
        self._open[subscription] = None
        self._count.update(account for account, _ in accounts)

    async def _read(self, reader: PartitionReader) -> None:
        """Read on until the last stream has ended; a failure ends all streams."""
        try:
            await self._read_on(reader)
        except HookstreamError as error:
            self._reading = None
            for subscription in list(self._open):
                subscription.end("unavailable", str(error))
        except Exception:  # the failure would otherwise be lost
            logger.exception("streams.failed")
            self._reading = None
            for subscription in list(self._open):
                subscription.end("internal", "something is wrong on our side")
        finally:
            await reader.close()

    async def _read_on(self, reader: PartitionReader) -> None:
        clock = self._api.clock
        beat_s, look_s = clock.monotonic() + BEAT_S, clock.monotonic() + LOOK_S
        while True:
            polled = await reader.poll(self._positions, timeout_ms=_POLL_MS, max_records=_POLLED)
            for record in (each for records in polled.values() for each in records):
                self._positions[record.partition] = record.offset + 1
                self._publish(record)
            now_s = clock.monotonic()
            if now_s >= look_s:
                look_s = now_s + LOOK_S
                for subscription in [each for each in self._open if not each.allowed()]:
                    subscription.end("unauthenticated", "the key is revoked or expired")
            if now_s >= beat_s:
                beat_s = now_s + BEAT_S
                beat = b"id: %b\n: beat\n\n" % position_text(self._positions).encode()
                for subscription in self._open:
                    subscription.put(beat)
                if await self._has_more_partitions():
                    raise Unavailable(f"{self._topic} has more partitions than before: connect again")

    async def _has_more_partitions(self) -> bool:
        try:
            return len(await self._api.ends.ends(self._topic)) > len(self._positions)
        except HookstreamError:
            return False  # asked again at the next beat

    def _publish(self, record: Record) -> None:
        decoded = self._decoded(record)
        if decoded is None:
            return
        owner, event = decoded
        wanting = [each for each in self._by_owner[owner] if each.wants(event.type)]
        if wanting:
            frame = frame_of("event", _encoder.encode(event), position_text(self._positions))
            for subscription in wanting:
                subscription.put(frame)

    def _decoded(self, record: Record) -> tuple[tuple[str, str], StreamedEvent] | None:
        """Tenant and mode of a record's event, and the event; None for a record that is no event."""
        at = Coordinates(self._topic, record.partition, record.offset, record.timestamp)
        try:
            event = decode_event(record.value, record.headers, at, max_bytes=self._api.max_event_bytes)
            if (event.tenant, event.mode) not in self._by_owner:
                return None
            if event.subject is not None and self._api.subjects.is_erased(event, record.timestamp):
                return None
            event = shown_event(self._api, event)
            data = msgspec.Raw(data_of(event.body, event.format))
        except MalformedEvent:
            return None
        streamed = StreamedEvent(
            id=event.id,
            type=event.type,
            created_at=event.created_at,
            appended_at=iso(max(0, record.timestamp)),
            ordering_key=event.ordering_key,
            traceparent=event.traceparent,
            partition=record.partition,
            offset=record.offset,
            data=data,
        )
        return (event.tenant, event.mode), streamed


def positions_of(last_id: str) -> list[int]:
    """The offset of the next record for each partition, from the id of a frame. Raises `ApiError` 400."""
    parts = last_id.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise ApiError(400, "invalid_header", "Last-Event-ID: use the id of a frame unchanged")
    return [int(part) for part in parts]


def position_text(positions: Positions) -> str:
    """The id of a frame after which the reader has these positions."""
    return ",".join(str(positions[number]) for number in sorted(positions))


def _within(begin: Sequence[int], joined: Positions) -> Positions:
    """A client's positions: a partition that is new to it from its beginning, and none beyond the reader's."""
    return {
        number: min(begin[index] if index < len(begin) else 0, joined[number])
        for index, number in enumerate(sorted(joined))
    }


def _accounts(caller: Caller) -> list[tuple[tuple[str, str], int]]:
    """The accounts that a stream counts for, each with its limit."""
    return [
        (("process", ""), MAX_STREAMS),
        (("tenant", caller.tenant), MAX_OF_TENANT),
        (("key", caller.payer), MAX_OF_KEY),
    ]


def _named(name: str, fields: Mapping[str, str], id_: str | None = None) -> bytes:
    return frame_of(name, _encoder.encode(fields), id_)
