"""The sequencer role: deliveries that have to be in order leave one after the other, each line at its own pace.

The decisions are in roles/sequencer/key_queue.py and roles/sequencer/resume_gate.py. Here: for each batch of
deliveries.ordered, load the lines it speaks
of, decide, append what may leave, and remember the rest. A line is one endpoint and one ordering key; the record of a
waiting delivery is kept in the table `held`, so that releasing it reads no log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from app.core.errors import Defect
from app.core.offsets.progress import RoleReport
from app.core.records import delivery
from app.core.records import headers as headers_record
from app.core.records import ordered as ordered_record
from app.core.records.ordered import Arrival, GateStep, OperatorInstruction, Settlement
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer, RecordHeaders
from app.ports.registry import DirectoryFeed
from app.ports.stream import StreamApp, StreamBatch, StreamPartition
from app.roles.ack_pipeline import AckPipeline, PartedBatch, remember
from app.roles.sequencer import key_queue
from app.roles.sequencer import resume_gate as gates
from app.roles.sequencer.role.tables import PartitionMemory, TableChanges

log = structlog.get_logger(__name__)

#: records that are read for one part of a batch; outputs, and their bytes, after which it ends
_PART_RECORDS, _PART_OUTPUTS = 250, 1000
_PART_BYTES = 4 * 1024 * 1024
#: between two looks for gates that nobody opens
_LOOK_S = 1.0


class _Read(NamedTuple):
    """A record, understood."""

    record: Record
    endpoint: str
    #: the ordering key; of a step: none
    key: str
    said: ordered_record.OrderedRecord
    #: how far whoever wrote it had read the registry
    position: int

    @property
    def name(self) -> bytes:
        """Of its line."""
        return f"{self.endpoint}\n{self.key}".encode()


class SequencerRole:
    """One sequencer worker."""

    def __init__(
        self,
        *,
        app: Callable[[], StreamApp],
        log_: GroupingProducer,
        feed: DirectoryFeed,
        meter: Meter,
        deliveries: str,
        ordered: str,
        dead: str,
        max_record_bytes: int,
        clock: Clock,
    ) -> None:
        self._make_app = app
        self._app: StreamApp | None = None
        self._feed = feed
        self._meter = meter
        self._deliveries = deliveries
        self._ordered = ordered
        self._dead = dead
        self._clock = clock
        self._max_record_bytes = max_record_bytes
        self._pipe = AckPipeline(log_)
        self._log = log_
        #: what this worker knows of the partitions that it has now
        self._memories: dict[int, PartitionMemory] = {}

    def ready(self) -> str | None:
        """None when an ordered delivery would be released; else why not."""
        return self._app.ready() if self._app else "starting"

    def report(self) -> RoleReport:
        """For the watchdog. A move is: the oldest batch under way was acknowledged, or a first one was read."""
        return self._app.report() if self._app else RoleReport(settling="starting")

    async def run(self) -> None:
        """Work until cancelled; raises what a fresh instance may repair."""
        self._app = app = self._make_app()
        work = [asyncio.create_task(app.run(self._handle)), asyncio.create_task(self._watch(app))]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for each in work:
                if each.done():
                    each.result()
        finally:
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self._pipe.close()

    async def _watch(self, app: StreamApp) -> None:
        """Have gates opened that nobody else opens: their resume was cancelled, or their endpoint disabled or removed.

        Not at the first sight: what the resume has appended before its end is to be read before.
        """
        suspected: set[str] = set()
        while True:
            await self._clock.sleep(_LOOK_S)
            closed = {
                endpoint: partition
                for partition in app.assigned()
                for endpoint, gate in self._memory(partition).gates.items()
                if gate.state != "open" and not self._feed.directory.brings(endpoint)
            }
            for endpoint in suspected & closed.keys():
                partition = closed[endpoint]
                await self._append(self._ordered, partition, (endpoint.encode(), None, ordered_record.step("open")))
            suspected = set(closed)

    async def _handle(self, batch: StreamBatch) -> None:
        parts, records = self._pipe.parts(batch), batch.records
        while records:
            async with self._pipe.turn():
                if not batch.partition.current or batch.partition.leaving:
                    return  # whoever has the partition next reads it
                records = await self._work(parts, records)

    async def _work(self, parts: PartedBatch, records: Sequence[Record]) -> Sequence[Record]:
        """One part of a batch; the records that are left."""
        batch, partition = parts.batch, parts.batch.partition
        reads = [self._read(record) for record in records[:_PART_RECORDS]]
        if any(read is not None and self._is_delicate(partition, read) for read in reads):
            await self._feed.fence(batch.polled_at)  # not up to a position: the registry may never get there
        if not partition.current:
            return ()
        work, taken = TableChanges(partition, self._memory(partition)), 0
        while taken < len(reads) and work.outputs() < _PART_OUTPUTS and work.size < _PART_BYTES:
            read = reads[taken]
            taken += 1
            if read is not None:
                self._apply(work, read)
        last = records[taken - 1]
        work.forget_resting(last.timestamp)
        # First: once the tables have forgotten what was given up, nobody else would write it.
        await asyncio.gather(*[await self._append(self._dead, partition, entry) for entry in work.given_up()])
        if not partition.current:
            return ()  # while that was awaited: the tables are no longer ours, or were read anew
        with parts.outputs(last.offset + 1) as bundle:
            for key, value, headers in work.released:
                bundle.append(self._deliveries, key=key, value=value, headers=headers, partition=partition.number)
            remember(partition, "waiting", work.held, bundle)
            remember(partition, "queues", work.encoded(), bundle)
        return records[taken:]

    async def _append(
        self, topic: str, partition: StreamPartition, entry: tuple[bytes, bytes | None, RecordHeaders]
    ) -> asyncio.Future[int]:
        key, value, headers = entry
        return await self._log.append(topic, key=key, value=value, headers=headers, partition=partition.number)

    def _memory(self, partition: StreamPartition) -> PartitionMemory:
        known = self._memories.get(partition.number)
        if known is None or known.partition is not partition:
            known = self._memories[partition.number] = PartitionMemory(partition)
        return known

    def _read(self, record: Record) -> _Read | None:
        endpoint = (record.key or b"").decode("utf-8", "replace")
        try:
            key, said = ordered_record.read(record.headers)
            position = 0
            if isinstance(said, Arrival) or _is_back(said):
                # dispatch would pass over one that it cannot read, and its line wait for ever
                if headers_record.size_of(record) > self._max_record_bytes:
                    raise Defect("it is larger than a delivery can be")
                _, position = delivery.decode(record.key, record.value, record.headers)
        except Defect as error:
            log.error("sequencer.unreadable", partition=record.partition, offset=record.offset, error=str(error))
            self._meter.count("records_unreadable_total", topic=TopicName.DELIVERIES_ORDERED)
            return None
        return _Read(record, endpoint, key, said, position)

    def _is_delicate(self, partition: StreamPartition, read: _Read) -> bool:
        """Whether the directory has to be as recent as the record for what becomes of it."""
        if isinstance(read.said, GateStep) or _is_back(read.said) or read.position > self._feed.position:
            return True
        endpoint = self._feed.directory.endpoint(read.endpoint)
        paused = endpoint is not None and endpoint.status == "paused"
        return paused or read.endpoint in self._memory(partition).gates

    def _apply(self, work: TableChanges, read: _Read) -> None:
        if isinstance(read.said, GateStep):
            self._step(work, read, read.said)
            return
        line, orders = self._decide(work, read)
        self._put(work, read.name, read.record, line, orders)

    def _put(
        self,
        work: TableChanges,
        name: bytes,
        record: Record,
        line: key_queue.KeyQueue,
        orders: list[key_queue.QueueAction],
    ) -> None:
        work.lines[name] = line
        for order in orders:
            self._obey(work, name, record, order)
        if key_queue.is_idle(line):
            work.memory.rests(record.timestamp, name, line.applied)

    def _decide(self, work: TableChanges, read: _Read) -> tuple[key_queue.KeyQueue, list[key_queue.QueueAction]]:
        line, offset, said, endpoint = work.line(read.name), read.record.offset, read.said, read.endpoint
        if isinstance(said, Arrival):
            return self._arrive(work, read, line, resumed=said.resumed)
        if isinstance(said, OperatorInstruction):
            return (key_queue.skip if said.order == "skip" else key_queue.drop)(line, offset)
        assert isinstance(said, Settlement)
        if said.outcome == "parked":
            return self._come_back(work, read, line, said)
        after, orders = key_queue.settle(line, offset, said.arrival, said.outcome, block=self._blocks(endpoint))
        if after.blocked != line.blocked:
            log.warning("sequencer.blocked", endpoint=endpoint, ordering_key=read.key, waiting=len(after.waiting))
        return after, orders

    def _arrive(
        self, work: TableChanges, read: _Read, line: key_queue.KeyQueue, *, resumed: bool
    ) -> tuple[key_queue.KeyQueue, list[key_queue.QueueAction]]:
        offset, endpoint = read.record.offset, read.endpoint
        if offset <= line.applied:
            return key_queue.arrive(line, offset)
        moved, way, move = gates.arrive(work.gate(endpoint), offset, endpoint, self._feed.directory, resumed=resumed)
        work.move_gate(endpoint, moved, read.record.timestamp)
        if move != "none":
            self._move(work, read, move)
            line = work.line(read.name)
        if way == "park":
            return key_queue.put_aside(line, offset)
        if way == "hold":
            return key_queue.arrive(line, offset, hold=True)
        line, first = key_queue.unblock(line, offset) if not self._blocks(endpoint) else (line, [])
        if moved.state == "open":
            line, more = key_queue.let_go(line, offset)
            first = [*first, *more]
        line, orders = key_queue.arrive(line, offset)
        return line, [*first, *orders]

    def _come_back(
        self, work: TableChanges, read: _Read, line: key_queue.KeyQueue, said: Settlement
    ) -> tuple[key_queue.KeyQueue, list[key_queue.QueueAction]]:
        """Its endpoint was paused when its turn came."""
        offset, endpoint = read.record.offset, read.endpoint
        if key_queue.is_known(line, said.arrival):
            work.keep(read.name, said.arrival, read.record)
        elif offset > line.applied:  # its line has gone on without it: it comes back as a new one
            return self._arrive(work, read, line, resumed=False)
        if offset <= line.applied or said.arrival not in (line.flying, line.blocked):
            return key_queue.settle(line, offset, said.arrival, "parked", block=False)
        moved, stops = gates.comes_back(work.gate(endpoint), offset, endpoint, self._feed.directory)
        work.move_gate(endpoint, moved, read.record.timestamp)
        line, orders = key_queue.settle(line, offset, said.arrival, "parked", block=False)
        if not stops:
            line, more = key_queue.go_on(line, offset)
            orders = [*orders, *more]
        return line, orders

    def _step(self, work: TableChanges, read: _Read, step: GateStep) -> None:
        gate, offset = work.gate(read.endpoint), read.record.offset
        moved, move = gates.obey(gate, offset, step, read.endpoint, self._feed.directory)
        work.move_gate(read.endpoint, moved, read.record.timestamp)
        if move != "none" or offset <= gate.applied:
            self._move(work, read, move)

    def _move(self, work: TableChanges, read: _Read, move: gates.GateMove) -> None:
        """What a gate does to the lines behind it; `none`: the record is read again."""
        gone = self._feed.directory.endpoint(read.endpoint) is None
        for name in work.lines_of(read.endpoint):
            line, offset = work.line(name), read.record.offset
            orders: list[key_queue.QueueAction] = []
            if move == "none":
                orders = key_queue.again(line, offset)
            if gone and move == "release all":  # nobody will ever skip what blocks it
                line, orders = key_queue.unblock(line, offset)
            if move in ("park held", "park held, release next"):
                line, orders = key_queue.retreat(line)
            if move in ("park held, release next", "release all"):
                line, more = (key_queue.let_go if move == "release all" else key_queue.go_on)(line, offset)
                orders = [*orders, *more]
            if orders or line != work.line(name):
                self._put(work, name, read.record, line, orders)

    def _obey(self, work: TableChanges, name: bytes, record: Record, order: key_queue.QueueAction) -> None:
        match order:
            case key_queue.StoreRecord(offset=offset):
                work.keep(name, offset, record)
            case key_queue.ReleaseNext(offset=offset):
                work.release(name, offset, work.line(name).cause)
            case key_queue.ReleaseAgain(offset=offset):
                if work.memory.released.get(name) != offset:
                    work.release(name, offset, work.line(name).cause)
            case key_queue.DropRecord(offset=offset):
                work.forget(name, offset)
            case key_queue.DeadLetter(offset=offset, reason=reason):
                self._meter.count("dead_letters_total", reason=reason)
                if offset == record.offset:
                    work.refuse(record, reason)
                else:
                    work.give_up(name, offset, reason)

    def _blocks(self, endpoint_id: str) -> bool:
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active" and endpoint.on_exhausted == "block"


def _is_back(said: ordered_record.OrderedRecord) -> bool:
    return isinstance(said, Settlement) and said.outcome == "parked"
