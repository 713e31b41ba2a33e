"""The sequencer role: deliveries that have to be in order leave one after the other, each line at its own pace.

The decisions are in core/fifo.py. Here: for each batch of deliveries.ordered, load the lines it speaks of, decide,
append what may leave, and remember the rest. A line is one endpoint and one ordering key; the record of a waiting
delivery is kept in the table `held`, so that releasing it reads no log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog

from app.core import delivery_record, fifo, ordered_record
from app.core.errors import Defect
from app.core.ordered_record import Arrival, Instruction
from app.core.topics import Names
from app.core.watchdog import Report
from app.ports import BundleLog, DirectoryFeed, Meter, Record
from app.ports.streams import StreamApp, StreamBatch, StreamPartition
from app.roles.batches import BatchPipe, remember

log = structlog.get_logger(__name__)

#: a line at rest is forgotten that long after it came to rest: by then its last record is committed
_REST_MS = 60_000
T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
_line = msgspec.msgpack.Decoder(fifo.Line)
#: key, value and headers of a delivery's record
Entry = tuple[bytes, bytes, list[tuple[str, bytes]]]
_held = msgspec.msgpack.Decoder(Entry)


class SequencerRole:
    """One sequencer worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, meter: Meter, deliveries: str,
        dead: str, max_record_bytes: int,
    ) -> None:  # fmt: skip
        self._make_app = app
        self._app: StreamApp | None = None
        self._feed = feed
        self._meter = meter
        self._deliveries = deliveries
        self._dead = dead
        self._max_record_bytes = max_record_bytes
        self._pipe = BatchPipe(log_)
        self._log = log_
        #: what this worker knows of the partitions that it has now
        self._memories: dict[int, _Memory] = {}

    def ready(self) -> str | None:
        """None when an ordered delivery would be released; else why not."""
        return self._app.ready() if self._app else "starting"

    def report(self) -> Report:
        """For the watchdog. A move is: the oldest batch under way was acknowledged, or a first one was read."""
        return self._app.report() if self._app else Report(settling="starting")

    async def run(self) -> None:
        """Work until cancelled; raises what a fresh instance may repair."""
        self._app = self._make_app()
        try:
            await self._app.run(self._handle)
        finally:
            await self._pipe.close()

    async def _handle(self, batch: StreamBatch) -> None:
        await self._pipe.room()
        if not batch.partition.current:
            return  # whoever has the partition now reads it
        work = _Work(batch.partition, self._memory(batch.partition))
        for record in batch.records:
            self._apply(work, record)
        work.forget_resting(batch.records[-1].timestamp)
        # First: once the tables have forgotten what was given up, nobody else would write it.
        acks = [await self._append(self._dead, work, entry) for entry in work.given_up]
        await asyncio.gather(*acks)
        with self._pipe.outputs(batch) as bundle:
            for key, value, headers in work.released:
                bundle.append(self._deliveries, key=key, value=value, headers=headers, partition=batch.partition.number)
            remember(batch.partition, "held", work.held, bundle)
            remember(batch.partition, "line", work.encoded(), bundle)

    async def _append(self, topic: str, work: _Work, entry: Entry) -> asyncio.Future[int]:
        key, value, headers = entry
        return await self._log.append(topic, key=key, value=value, headers=headers, partition=work.partition.number)

    def _memory(self, partition: StreamPartition) -> _Memory:
        known = self._memories.get(partition.number)
        if known is None or known.partition is not partition:
            known = self._memories[partition.number] = _Memory(partition)
        return known

    def _apply(self, work: _Work, record: Record) -> None:
        try:
            key, said = self._read(record)
        except Defect as error:
            log.error(
                "sequencer.unreadable", partition=work.partition.number, offset=record.offset, error=str(error)
            )  # fmt: skip
            self._meter.count("records_unreadable_total", topic=Names.DELIVERIES_ORDERED)
            return
        endpoint = (record.key or b"").decode("utf-8", "replace")
        name = f"{endpoint}\n{key}".encode()
        line = work.line(name)
        line, orders = self._decide(line, record.offset, said, endpoint, key)
        work.lines[name] = line
        for order in orders:
            self._obey(work, name, record, order)
        if fifo.is_idle(line):
            work.memory.rests(record.timestamp, name, line.applied)

    def _read(self, record: Record) -> tuple[str, ordered_record.Ordered]:
        key, said = ordered_record.read(record.headers)
        if isinstance(said, Arrival):  # dispatch would pass over one that it cannot read, and its line wait for ever
            if delivery_record.size_of(record) > self._max_record_bytes:
                raise Defect("it is larger than a delivery can be")
            delivery_record.decode(record.key, record.value, record.headers)
        return key, said

    def _decide(
        self, line: fifo.Line, offset: int, said: ordered_record.Ordered, endpoint: str, key: str
    ) -> tuple[fifo.Line, list[fifo.Order]]:
        if isinstance(said, Arrival):
            line, first = fifo.unblock(line, offset) if not self._blocks(endpoint) else (line, [])
            line, orders = fifo.arrive(line, offset)
            return line, [*first, *orders]
        if isinstance(said, Instruction):
            return (fifo.skip if said.order == "skip" else fifo.drop)(line, offset)
        after, orders = fifo.settle(line, offset, said.arrival, said.outcome, block=self._blocks(endpoint))
        if after.blocked != line.blocked:
            log.warning("sequencer.blocked", endpoint=endpoint, ordering_key=key, waiting=len(after.waiting))
        return after, orders

    def _obey(self, work: _Work, name: bytes, record: Record, order: fifo.Order) -> None:
        match order:
            case fifo.Keep(offset=offset):
                work.keep(name, offset, record)
            case fifo.Release(offset=offset):
                work.release(name, offset)
            case fifo.Repeat(offset=offset):
                if work.memory.released.get(name) != offset:
                    work.release(name, offset)
            case fifo.Forget(offset=offset):
                work.forget(name, offset)
            case fifo.GiveUp(offset=offset, reason=reason):
                self._meter.count("dlq_total", reason=reason)
                if offset == record.offset:
                    work.keep(name, offset, record)
                work.give_up(name, offset, reason)

    def _blocks(self, endpoint_id: str) -> bool:
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active" and endpoint.on_exhausted == "block"


class _Memory:
    """What a worker knows of one partition during one assignment, beyond its tables."""

    def __init__(self, partition: StreamPartition) -> None:
        self.partition = partition
        #: line → the arrival that was released last
        self.released: dict[bytes, int] = {}
        #: (record time, line, applied) of lines at rest, oldest first
        self.resting: deque[tuple[int, bytes, int]] = deque()

    def rests(self, at_ms: int, name: bytes, applied: int) -> None:
        """Nothing of the line is under way."""
        self.released.pop(name, None)
        self.resting.append((at_ms, name, applied))


class _Work:
    """What one batch does to its partition's tables."""

    def __init__(self, partition: StreamPartition, memory: _Memory) -> None:
        self.partition = partition
        self.memory = memory
        self.released: list[Entry] = []
        self.given_up: list[Entry] = []
        #: None: to be forgotten
        self.lines: dict[bytes, fifo.Line | None] = {}
        self.held: dict[bytes, bytes | None] = {}

    def line(self, name: bytes) -> fifo.Line:
        if name in self.lines:
            return self.lines[name] or fifo.Line()
        return _known(_line, self.partition.read("line", name)) or fifo.Line()

    def encoded(self) -> dict[bytes, bytes | None]:
        return {name: _encoder.encode(line) if line else None for name, line in self.lines.items()}

    def keep(self, name: bytes, offset: int, record: Record) -> None:
        kept = (
            record.key or b"",
            record.value or b"",
            [(name, text) for name, text in record.headers if text is not None],
        )
        self.held[_place(name, offset)] = _encoder.encode(kept)

    def forget(self, name: bytes, offset: int) -> None:
        self.held[_place(name, offset)] = None

    def release(self, name: bytes, offset: int) -> None:
        found = self._kept(name, offset)
        if found is None:
            return  # its own record is still to be read again, and asks for the release itself
        key, value, headers = found
        self.released.append((key, value, [*headers, ("arrival", b"%d" % offset)]))
        self.memory.released[name] = offset

    def give_up(self, name: bytes, offset: int, reason: str) -> None:
        found = self._kept(name, offset)
        if found is None:
            return
        key, value, headers = found
        self.given_up.append((key, value, [*headers, ("reason", reason.encode()), ("last-result", reason.encode())]))
        self.forget(name, offset)

    def forget_resting(self, now_ms: int) -> None:
        """Lines at rest leave the table, once nothing can be read again that they would have to know."""
        resting = self.memory.resting
        while resting and resting[0][0] < now_ms - _REST_MS:
            _, name, applied = resting.popleft()
            if self.line(name).applied == applied:
                self.lines[name] = None

    def _kept(self, name: bytes, offset: int) -> Entry | None:
        place = _place(name, offset)
        stored = self.held[place] if place in self.held else self.partition.read("held", place)
        return _known(_held, stored)


def _known(decoder: msgspec.msgpack.Decoder[T], stored: bytes | None) -> T | None:
    """A table's value; what we cannot have written counts as nothing."""
    try:
        return decoder.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        log.exception("sequencer.table_unreadable")
        return None


def _place(name: bytes, offset: int) -> bytes:
    return name + b"\n" + offset.to_bytes(8, "big")
