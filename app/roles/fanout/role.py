"""The fan-out role: each batch of events.raw becomes deliveries, acknowledged before the batch is.

The agent is the shell: what a batch causes is decided in roles/fanout/plan.py, slice by slice. The slices of
a partition are
planned in order; the acknowledgements of some are awaited while the next ones are planned, and the commit never passes
an open one. Between two slices the loop, and the other partitions, have their turn.

Sequences are written last, when the sights that they were given to are safe. A crash between two changelogs would else
leave a count that is ahead of what it has counted: the event is read again, finds itself unknown, and takes another
number. Behind it may be: a record that is read again says which number it has. Checkpoints are written last, too: they
say that everything before them is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import structlog

from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.ports.producer import AckGroup, GroupingProducer
from app.ports.registry import DirectoryFeed
from app.ports.stream import SchemaValidator, StreamApp, StreamBatch, StreamPartition
from app.roles.ack_pipeline import PartedBatch, StreamRole, write_table
from app.roles.fanout import reset_detection
from app.roles.fanout.plan import BatchPlan, BatchPlanner, FanoutRules, checkpoint_key, position_key
from app.roles.fanout.records import dropped, rejected
from app.roles.fanout.slicing import SliceSize

log = structlog.get_logger(__name__)


class _Partition:
    """The tables of a partition during one assignment, with what is planned and not yet safe to write."""

    def __init__(self, partition: StreamPartition, group: str) -> None:
        self.partition = partition
        #: planned sequences
        self._ahead: dict[bytes, bytes] = {}
        number = partition.number
        stored = reset_detection.read(partition.read("positions", position_key(number)))
        #: planned, not only acknowledged
        self.position = reset_detection.begin(
            stored, group, number, partition.start, was_reset=partition.was_reset, moved=partition.moved
        )
        if self.position.replay_id:
            log.info(
                "fanout.replay", partition=number, replay=self.position.replay_id, until=self.position.replay_until
            )
        noted = partition.read("positions", checkpoint_key(number))
        #: how far an earlier assignment came in one event
        elsewhere = partition.was_reset or partition.moved
        self.checkpoint = None if elsewhere else reset_detection.read_checkpoint(noted)
        self._outdated = elsewhere and noted is not None

    def sequence(self, key: bytes) -> bytes | None:
        """The latest planned sequence of an ordering key."""
        return self._ahead.get(key) or self.partition.read("ordering", key)

    def advance(self, plan: BatchPlan) -> dict[bytes, bytes | None]:
        """A slice is planned: know it for the next one. What the table `positions` has to remember with it."""
        self._ahead.update(plan.sequences)
        self.position = reset_detection.advance(self.position, plan.begun)
        items: dict[bytes, bytes | None] = {position_key(self.partition.number): reset_detection.write(self.position)}
        if self._outdated:
            items[checkpoint_key(self.partition.number)] = None
            self._outdated = False
        return items

    def settle(
        self, sequences: Mapping[bytes, bytes], checkpoints: Mapping[bytes, bytes | None], bundle: AckGroup
    ) -> None:
        """The slice is safe: remember what may be known only then."""
        write_table(self.partition, "ordering", sequences, bundle)
        for key, value in sequences.items():
            if self._ahead.get(key) == value:
                del self._ahead[key]
        write_table(self.partition, "positions", checkpoints, bundle)


class FanoutRole(StreamRole):
    """One fan-out worker."""

    def __init__(
        self,
        *,
        app: Callable[[], StreamApp],
        producer: GroupingProducer,
        feed: DirectoryFeed,
        schemas: SchemaValidator,
        meter: Meter,
        rules: FanoutRules,
        clock: Clock,
        group: str,
        deliveries: str,
        ordered: str,
        aside: str,
        rejected: str,
        duplicates: str,
    ) -> None:
        super().__init__(app, producer)
        self._feed = feed
        self._schemas = schemas
        self._meter = meter
        self._rules = rules
        self._clock = clock
        self._size = SliceSize(rules.slice_outputs)
        self._group = group
        self._deliveries = deliveries
        self._ordered = ordered
        self._aside = aside
        self._rejected = rejected
        self._duplicates = duplicates
        self._partitions: dict[int, _Partition] = {}

    async def _handle(self, batch: StreamBatch) -> None:
        """Plan a batch and append what it causes; its acknowledgement follows by itself."""
        await self._feed.catch_up(batch.polled_at)  # an event appended after a change must see it (DESIGN guarantee 7)
        parts = self._pipeline.parts(batch)
        slices: Iterator[BatchPlan] | None = None
        upto, end = -1, batch.records[-1].offset + 1
        while upto < end:
            async with self._pipeline.next_part():
                if not batch.partition.current or batch.partition.leaving:
                    return  # whoever has the partition next reads it, and goes on behind what is acknowledged
                begun_s = self._clock.monotonic()
                slices = slices or self._plan(batch)
                plan = next(slices)
                upto = plan.upto
                self._write(plan, parts)
                self._size.took(self._clock.monotonic() - begun_s)

    def _write(self, plan: BatchPlan, parts: PartedBatch) -> None:
        partition = parts.batch.partition
        known = self._partition(partition)
        remembered = known.advance(plan)
        late = plan.sequences or plan.checkpoints
        last_words = partial(known.settle, plan.sequences, plan.checkpoints) if late else None
        with parts.outputs(plan.upto, last_words) as bundle:
            self._append(partition, plan, remembered, bundle)

    def _plan(self, batch: StreamBatch) -> Iterator[BatchPlan]:
        partition = batch.partition
        known = self._partition(partition)
        planner = BatchPlanner(
            self._rules,
            partition.number,
            self._feed.directory,
            lambda: self._feed.position,
            sight=lambda key: partition.read("idempotency", key),
            sequence=known.sequence,
            violation=self._schemas.violation,
            spent=lambda: self._schemas.spent,
            start=partition.start,
            outputs=lambda: self._size.outputs,
        )
        return planner.slices(batch.records, known.position, known.checkpoint)

    def _partition(self, partition: StreamPartition) -> _Partition:
        known = self._partitions.get(partition.number)
        if known is None or known.partition is not partition:
            known = self._partitions[partition.number] = _Partition(partition, self._group)
        return known

    def _append(
        self, partition: StreamPartition, plan: BatchPlan, remembered: Mapping[bytes, bytes | None], bundle: AckGroup
    ) -> None:
        write_table(partition, "idempotency", plan.sights, bundle)
        write_table(partition, "positions", remembered, bundle)
        for endpoint, headers, body in plan.deliveries:
            bundle.append(self._deliveries, key=endpoint, value=body, headers=headers)
        for endpoint, headers, body in plan.ordered:
            bundle.append(self._ordered, key=endpoint, value=body, headers=headers)
        for endpoint, headers, body in plan.aside:
            bundle.append(self._aside, key=endpoint, value=body, headers=headers)
        for rejection in plan.rejections:
            key, value, headers = rejected(rejection, self._rules, partition.number)
            bundle.append(self._rejected, key=key, value=value, headers=headers)
            self._meter.count("events_rejected_total", reason=rejection.reason)
        for drop in plan.duplicates:
            key, headers = dropped(drop, self._rules, partition.number)
            bundle.append(self._duplicates, key=key, value=b"", headers=headers, partition=partition.number)
        self._measure(plan)

    def _measure(self, plan: BatchPlan) -> None:
        for result, number in (
            ("accepted", plan.accepted),
            ("duplicate", len(plan.duplicates)),
            ("invalid", len(plan.rejections)),
        ):
            if number:
                self._meter.count("events_ingested_total", number, result=result)
        for event_type, problem in plan.warnings:
            log.warning("fanout.schema", type=event_type, reason=problem.reason, problem=problem.detail)
        if plan.warnings:
            self._meter.count("schema_warnings_total", len(plan.warnings))
        if plan.ended:
            self._meter.observe("event_fanout_endpoints", plan.fanned_out / plan.ended)
