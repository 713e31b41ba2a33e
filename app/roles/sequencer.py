"""The sequencer role: deliveries that have to be in order leave one after the other, each line at its own pace.

The decisions are in core/fifo.py. Here: for each batch of deliveries.ordered, load the lines it speaks of, decide,
append what may leave, and remember the rest. A line is one endpoint and one ordering key; the record of a waiting
delivery is kept in the table `held`, so that releasing it reads no log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec
import structlog

from app.core import fifo, ordered_record
from app.core.errors import Defect
from app.core.ordered_record import Arrival, Instruction
from app.ports import Bundle, BundleLog, DirectoryFeed, Meter, Record
from app.ports.streams import StreamApp, StreamBatch, StreamPartition
from app.roles.batches import BatchPipe, remember

log = structlog.get_logger(__name__)

#: a line at rest is forgotten that long after it came to rest: by then its last record is committed
_REST_MS = 60_000
_encoder = msgspec.msgpack.Encoder()
_line = msgspec.msgpack.Decoder(fifo.Line)
_held = msgspec.msgpack.Decoder(tuple[bytes, bytes, list[tuple[str, bytes]]])


class SequencerRole:
    """One sequencer worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, meter: Meter, deliveries: str,
        dead: str,
    ) -> None:  # fmt: skip
        self._make_app = app
        self._app: StreamApp | None = None
        self._feed = feed
        self._meter = meter
        self._deliveries = deliveries
        self._dead = dead
        self._pipe = BatchPipe(log_)
        #: (record time, partition, line, applied) of lines at rest, oldest first
        self._resting: deque[tuple[int, StreamPartition, bytes, int]] = deque()

    def ready(self) -> str | None:
        """None when an ordered delivery would be released; else why not."""
        return self._app.ready() if self._app else "starting"

    async def run(self) -> None:
        """Work until cancelled; raises what a fresh instance may repair."""
        self._app = self._make_app()
        try:
            await self._app.run(self._handle)
        finally:
            await self._pipe.close()

    async def _handle(self, batch: StreamBatch) -> None:
        await self._pipe.room()
        work = _Work(batch.partition, self._deliveries, self._dead)
        with self._pipe.outputs(batch) as bundle:
            for record in batch.records:
                self._apply(work, record, bundle)
            self._forget_resting(work, batch.records[-1].timestamp)
            remember(batch.partition, "held", work.held, bundle)
            remember(batch.partition, "line", work.encoded(), bundle)

    def _apply(self, work: _Work, record: Record, bundle: Bundle) -> None:
        try:
            key, said = ordered_record.read(record.headers)
        except Defect as error:
            log.error("sequencer.unreadable", offset=record.offset, error=str(error))
            return
        endpoint = (record.key or b"").decode("utf-8", "replace")
        name = f"{endpoint}\n{key}".encode()
        line = work.line(name)
        line, orders = self._decide(line, record.offset, said, endpoint, key)
        work.lines[name] = line
        for order in orders:
            self._obey(work, name, record, order, bundle)
        if fifo.is_idle(line):
            self._resting.append((record.timestamp, work.partition, name, line.applied))

    def _decide(
        self, line: fifo.Line, offset: int, said: ordered_record.Ordered, endpoint: str, key: str
    ) -> tuple[fifo.Line, list[fifo.Order]]:
        if isinstance(said, Arrival):
            return fifo.arrive(line, offset)
        if isinstance(said, Instruction):
            return (fifo.skip if said.order == "skip" else fifo.drop)(line, offset)
        after, orders = fifo.settle(line, offset, said.arrival, said.outcome, block=self._blocks(endpoint))
        if after.blocked != line.blocked:
            log.warning("sequencer.blocked", endpoint=endpoint, ordering_key=key, waiting=len(after.waiting))
        return after, orders

    def _obey(self, work: _Work, name: bytes, record: Record, order: fifo.Order, bundle: Bundle) -> None:
        match order:
            case fifo.Keep(offset=offset):
                work.keep(name, offset, record)
            case fifo.Release(offset=offset):
                work.release(name, offset, bundle)
            case fifo.Forget(offset=offset):
                work.forget(name, offset)
            case fifo.GiveUp(offset=offset, reason=reason):
                self._meter.count("dlq_total", reason=reason)
                if offset == record.offset:
                    work.keep(name, offset, record)
                work.give_up(name, offset, reason, bundle)

    def _blocks(self, endpoint_id: str) -> bool:
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active" and endpoint.on_exhausted == "block"

    def _forget_resting(self, work: _Work, now_ms: int) -> None:
        """Lines at rest leave the table, once nothing can be read again that they would have to know."""
        while self._resting and self._resting[0][0] < now_ms - _REST_MS:
            _, partition, name, applied = self._resting.popleft()
            if partition is work.partition and work.line(name).applied == applied:
                work.lines[name] = None


class _Work:
    """What one batch does to its partition's tables."""

    def __init__(self, partition: StreamPartition, deliveries: str, dead: str) -> None:
        self.partition = partition
        self._deliveries = deliveries
        self._dead = dead
        #: None: to be forgotten
        self.lines: dict[bytes, fifo.Line | None] = {}
        self.held: dict[bytes, bytes | None] = {}

    def line(self, name: bytes) -> fifo.Line:
        if name in self.lines:
            return self.lines[name] or fifo.Line()
        stored = self.partition.read("line", name)
        return _line.decode(stored) if stored is not None else fifo.Line()

    def encoded(self) -> dict[bytes, bytes | None]:
        return {name: _encoder.encode(line) if line else None for name, line in self.lines.items()}

    def keep(self, name: bytes, offset: int, record: Record) -> None:
        kept = (record.key or b"", record.value or b"", list(record.headers))
        self.held[_place(name, offset)] = _encoder.encode(kept)

    def forget(self, name: bytes, offset: int) -> None:
        self.held[_place(name, offset)] = None

    def release(self, name: bytes, offset: int, bundle: Bundle) -> None:
        found = self._kept(name, offset)
        if found is None:
            return  # its own record is still to be read again, and asks for the release itself
        key, value, headers = found
        headers = [*headers, ("arrival", b"%d" % offset)]
        bundle.append(self._deliveries, key=key, value=value, headers=headers, partition=self.partition.number)

    def give_up(self, name: bytes, offset: int, reason: str, bundle: Bundle) -> None:
        found = self._kept(name, offset)
        if found is None:
            return
        key, value, headers = found
        why = [("reason", reason.encode()), ("last-result", reason.encode())]
        bundle.append(self._dead, key=key, value=value, headers=[*headers, *why], partition=self.partition.number)
        self.forget(name, offset)

    def _kept(self, name: bytes, offset: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]] | None:
        place = _place(name, offset)
        stored = self.held[place] if place in self.held else self.partition.read("held", place)
        return _held.decode(stored) if stored is not None else None


def _place(name: bytes, offset: int) -> bytes:
    return name + b"\n" + offset.to_bytes(8, "big")
