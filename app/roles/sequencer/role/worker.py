"""The sequencer role: releases the ordered deliveries of each ordering key one after the other.

The decisions are in roles/sequencer/key_queue.py and roles/sequencer/resume_gate.py. For each batch of
deliveries.ordered, the worker reads the key queues that its records are about, decides, appends released deliveries to
`deliveries`, and stores the rest. The record of a waiting delivery is in the table `waiting`, so a release reads no
log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, assert_never

import structlog

from app.core.errors import Defect
from app.core.records import delivery, ordered
from app.core.records.headers import size_of
from app.core.records.ordered import Arrival, GateStep, OperatorInstruction, OrderedRecord, Settlement
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer, RecordHeaders
from app.ports.registry import DirectoryFeed
from app.ports.stream import StreamApp, StreamBatch, StreamPartition
from app.roles.ack_pipeline import PartedBatch, StreamRole, write_table
from app.roles.sequencer import key_queue, resume_gate
from app.roles.sequencer.key_queue import KeyQueue, QueueAction
from app.roles.sequencer.resume_gate import GateMove
from app.roles.sequencer.role.tables import PartitionMemory, TableChanges

logger = structlog.get_logger(__name__)

#: a part of a batch has at most so many records; it ends early after so many outputs, or bytes of stored records
_PART_RECORDS, _PART_OUTPUTS = 250, 1000
_PART_BYTES = 4 * 1024 * 1024
#: seconds between two checks for gates that no resume will open
_CHECK_S = 1.0


class _DecodedRecord(NamedTuple):
    """A record of deliveries.ordered with its content."""

    record: Record
    endpoint: str
    #: the ordering key; empty for a gate step
    key: str
    content: OrderedRecord
    #: the registry offset up to which its writer had read
    position: int

    @property
    def name(self) -> bytes:
        """The name of its key queue."""
        return f"{self.endpoint}\n{self.key}".encode()


class SequencerRole(StreamRole):
    """One sequencer worker."""

    def __init__(
        self,
        *,
        app: Callable[[], StreamApp],
        producer: GroupingProducer,
        feed: DirectoryFeed,
        meter: Meter,
        deliveries: str,
        ordered: str,
        dead: str,
        max_record_bytes: int,
        clock: Clock,
    ) -> None:
        """`deliveries`, `ordered` and `dead` are topic names. Arrivals of more than `max_record_bytes` are skipped."""
        super().__init__(app, producer)
        self._feed = feed
        self._meter = meter
        self._deliveries = deliveries
        self._ordered = ordered
        self._dead = dead
        self._clock = clock
        self._max_record_bytes = max_record_bytes
        self._producer = producer
        #: partition number → memory of its current assignment
        self._memories: dict[int, PartitionMemory] = {}

    def _side_tasks(self, app: StreamApp) -> Sequence[Coroutine[None, None, None]]:
        return (self._open_abandoned_gates(app),)

    async def _open_abandoned_gates(self, app: StreamApp) -> None:
        """Open gates whose resume was cancelled, or whose endpoint was disabled or removed.

        A gate is opened only when a second check confirms it, because the last records of its resume must be read
        before.
        """
        suspected: set[str] = set()
        while True:
            await self._clock.sleep(_CHECK_S)
            abandoned = {
                endpoint: partition
                for partition in app.assigned()
                for endpoint, gate in self._memory(partition).gates.items()
                if gate.state != "open" and not self._feed.directory.has_open_resume(endpoint)
            }
            for endpoint in suspected & abandoned.keys():
                await self._append(self._ordered, abandoned[endpoint], (endpoint.encode(), None, ordered.step("open")))
            suspected = set(abandoned)

    async def _handle(self, batch: StreamBatch) -> None:
        parts, records = self._pipeline.parts(batch), batch.records
        while records:
            async with self._pipeline.next_part():
                if not batch.partition.current or batch.partition.leaving:
                    return  # the partition's next owner reads the rest
                records = await self._work(parts, records)

    async def _work(self, parts: PartedBatch, records: Sequence[Record]) -> Sequence[Record]:
        """Process one part of a batch; returns the records behind it."""
        batch, partition = parts.batch, parts.batch.partition
        decoded = [self._decode(record) for record in records[:_PART_RECORDS]]
        if any(each is not None and self._needs_directory(partition, each) for each in decoded):
            await self._feed.catch_up(batch.polled_at)  # not up to a position: the registry may never get there
        if not partition.current:
            return ()
        changes, taken = TableChanges(partition, self._memory(partition)), 0
        while taken < len(decoded) and changes.outputs() < _PART_OUTPUTS and changes.size < _PART_BYTES:
            each = decoded[taken]
            taken += 1
            if each is not None:
                self._apply(changes, each)
        last = records[taken - 1]
        changes.remove_resting(last.timestamp)
        # Dead letters first: once the tables have dropped a record, no crash recovery would write it.
        await asyncio.gather(*[await self._append(self._dead, partition, entry) for entry in changes.dead()])
        if not partition.current:
            return ()  # the partition moved during the await: the tables belong to another owner, or were reloaded
        with parts.outputs(last.offset + 1) as group:
            for key, value, headers in changes.released:
                group.append(self._deliveries, key=key, value=value, headers=headers, partition=partition.number)
            write_table(partition, "waiting", changes.waiting, group)
            write_table(partition, "queues", changes.encoded(), group)
        return records[taken:]

    async def _append(
        self, topic: str, partition: StreamPartition, entry: tuple[bytes, bytes | None, RecordHeaders]
    ) -> asyncio.Future[int]:
        key, value, headers = entry
        return await self._producer.append(topic, key=key, value=value, headers=headers, partition=partition.number)

    def _memory(self, partition: StreamPartition) -> PartitionMemory:
        memory = self._memories.get(partition.number)
        if memory is None or memory.partition is not partition:
            memory = self._memories[partition.number] = PartitionMemory(partition)
        return memory

    def _decode(self, record: Record) -> _DecodedRecord | None:
        endpoint = (record.key or b"").decode("utf-8", "replace")
        try:
            key, content = ordered.read(record.headers)
            position = 0
            if isinstance(content, Arrival) or _returns(content):
                # dispatch would skip a delivery that it cannot decode, and the queue would wait for it for ever
                if size_of(record) > self._max_record_bytes:
                    raise Defect("it is larger than a delivery can be")
                _, position = delivery.decode(record.key, record.value, record.headers)
        except Defect as error:
            logger.error("sequencer.unreadable", partition=record.partition, offset=record.offset, error=str(error))
            self._meter.count("records_unreadable_total", topic=TopicName.DELIVERIES_ORDERED)
            return None
        return _DecodedRecord(record, endpoint, key, content, position)

    def _needs_directory(self, partition: StreamPartition, decoded: _DecodedRecord) -> bool:
        """Whether the decision needs a directory that is as recent as the reading of the record."""
        if isinstance(decoded.content, GateStep) or _returns(decoded.content):
            return True
        endpoint = self._feed.directory.endpoint(decoded.endpoint)
        paused = endpoint is not None and endpoint.status == "paused"
        behind = decoded.position > self._feed.position
        return behind or paused or decoded.endpoint in self._memory(partition).gates

    def _apply(self, changes: TableChanges, decoded: _DecodedRecord) -> None:
        content = decoded.content
        if isinstance(content, GateStep):
            self._step(changes, decoded, content)
            return
        queue = changes.queue(decoded.name)
        match content:
            case Arrival():
                queue, actions = self._arrive(changes, decoded, queue, resumed=content.resumed)
            case OperatorInstruction():
                decide = key_queue.skip if content.instruction == "skip" else key_queue.drop
                queue, actions = decide(queue, decoded.record.offset)
            case Settlement(outcome="parked"):
                queue, actions = self._return(changes, decoded, queue, content)
            case Settlement():
                queue, actions = self._settle(decoded, queue, content)
            case _:
                assert_never(content)
        self._put(changes, decoded.name, decoded.record, queue, actions)

    def _put(
        self, changes: TableChanges, name: bytes, record: Record, queue: KeyQueue, actions: list[QueueAction]
    ) -> None:
        changes.queues[name] = queue
        for action in actions:
            self._execute(changes, name, record, action)
        if key_queue.is_idle(queue):
            changes.memory.add_resting(record.timestamp, name, queue.applied)

    def _settle(
        self, decoded: _DecodedRecord, queue: KeyQueue, settlement: Settlement
    ) -> tuple[KeyQueue, list[QueueAction]]:
        endpoint, before = decoded.endpoint, queue.blocked
        queue, actions = key_queue.settle(
            queue, decoded.record.offset, settlement.arrival, settlement.outcome, block=self._blocks(endpoint)
        )
        if queue.blocked >= 0 and queue.blocked != before:
            logger.warning("sequencer.blocked", endpoint=endpoint, ordering_key=decoded.key, waiting=len(queue.waiting))
        return queue, actions

    def _arrive(
        self, changes: TableChanges, decoded: _DecodedRecord, queue: KeyQueue, *, resumed: bool
    ) -> tuple[KeyQueue, list[QueueAction]]:
        offset, endpoint = decoded.record.offset, decoded.endpoint
        if offset <= queue.applied:
            return key_queue.arrive(queue, offset)
        gate, admission, move = resume_gate.arrive(
            changes.gate(endpoint), offset, endpoint, self._feed.directory, resumed=resumed
        )
        changes.move_gate(endpoint, gate, decoded.record.timestamp)
        if move != "none":
            self._move(changes, decoded, move)
            queue = changes.queue(decoded.name)
        match admission:
            case "park":
                return key_queue.park(queue, offset)
            case "hold":
                return key_queue.arrive(queue, offset, hold=True)
            case "enqueue":
                queue, first = key_queue.unblock(queue, offset) if not self._blocks(endpoint) else (queue, [])
                if gate.state == "open":
                    queue, more = key_queue.release_all(queue, offset)
                    first = [*first, *more]
                queue, actions = key_queue.arrive(queue, offset)
                return queue, [*first, *actions]
            case _:
                assert_never(admission)

    def _return(
        self, changes: TableChanges, decoded: _DecodedRecord, queue: KeyQueue, settlement: Settlement
    ) -> tuple[KeyQueue, list[QueueAction]]:
        """Dispatch has returned a delivery because its endpoint is paused."""
        offset, endpoint = decoded.record.offset, decoded.endpoint
        if key_queue.contains(queue, settlement.arrival):
            changes.store(decoded.name, settlement.arrival, decoded.record)
        elif offset > queue.applied:  # the queue has gone on without it: it is a new arrival
            return self._arrive(changes, decoded, queue, resumed=False)
        if offset <= queue.applied or settlement.arrival not in (queue.in_flight, queue.blocked):
            return key_queue.settle(queue, offset, settlement.arrival, "parked", block=False)
        gate, stops = resume_gate.comes_back(changes.gate(endpoint), offset, endpoint, self._feed.directory)
        changes.move_gate(endpoint, gate, decoded.record.timestamp)
        queue, actions = key_queue.settle(queue, offset, settlement.arrival, "parked", block=False)
        if not stops:
            queue, more = key_queue.release_next(queue, offset)
            actions = [*actions, *more]
        return queue, actions

    def _step(self, changes: TableChanges, decoded: _DecodedRecord, step: GateStep) -> None:
        endpoint, offset = decoded.endpoint, decoded.record.offset
        before = changes.gate(endpoint)
        gate, move = resume_gate.apply(before, offset, step, endpoint, self._feed.directory)
        changes.move_gate(endpoint, gate, decoded.record.timestamp)
        if move != "none" or offset <= before.applied:
            self._move(changes, decoded, move)

    def _move(self, changes: TableChanges, decoded: _DecodedRecord, move: GateMove) -> None:
        """Apply a gate's move to all key queues of its endpoint; `none`: its record is read again."""
        offset, removed = decoded.record.offset, self._feed.directory.endpoint(decoded.endpoint) is None
        for name in changes.queues_of(decoded.endpoint):
            queue = before = changes.queue(name)
            actions: list[QueueAction] = []
            more: list[QueueAction] = []
            match move:
                case "none":
                    actions = key_queue.again(queue, offset)
                case "park held":
                    queue, actions = key_queue.park_held(queue)
                case "park held, release next":
                    queue, actions = key_queue.park_held(queue)
                    queue, more = key_queue.release_next(queue, offset)
                case "release all":
                    if removed:  # no operator will skip the dead delivery of a removed endpoint
                        queue, actions = key_queue.unblock(queue, offset)
                    queue, more = key_queue.release_all(queue, offset)
                case _:
                    assert_never(move)
            if actions or more or queue != before:
                self._put(changes, name, decoded.record, queue, [*actions, *more])

    def _execute(self, changes: TableChanges, name: bytes, record: Record, action: QueueAction) -> None:
        match action:
            case key_queue.StoreRecord(offset=offset):
                changes.store(name, offset, record)
            case key_queue.ReleaseNext(offset=offset):
                changes.release(name, offset, changes.queue(name).cause)
            case key_queue.ReleaseAgain(offset=offset):
                if changes.memory.released.get(name) != offset:
                    changes.release(name, offset, changes.queue(name).cause)
            case key_queue.DropRecord(offset=offset):
                changes.drop(name, offset)
            case key_queue.DeadLetter(offset=offset, reason=reason):
                self._meter.count("dead_letters_total", reason=reason)
                if offset == record.offset:
                    changes.refuse(record, reason)
                else:
                    changes.give_up(name, offset, reason)
            case _:
                assert_never(action)

    def _blocks(self, endpoint_id: str) -> bool:
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active" and endpoint.on_exhausted == "block"


def _returns(content: OrderedRecord) -> bool:
    return isinstance(content, Settlement) and content.outcome == "parked"
