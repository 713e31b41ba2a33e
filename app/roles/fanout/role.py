"""The fan-out role: each batch of events.raw becomes deliveries, which are acknowledged before the batch is.

This is the shell: roles/fanout/plan.py decides what a batch causes, slice by slice. The slices of a partition are
planned in order. While some await acknowledgement the next ones are planned, and the commit never passes an open one.
Between two slices, other tasks and other partitions have their turn.

Sequences are written last, when the accepted records that carry them are acknowledged. Otherwise a crash between the
two changelogs could leave a count that is ahead of the counted events: an event would be read again, not be recognised,
and take another number. A count that is behind does no harm, because a record that is read again says which number it
has. Checkpoints are written last, too: they state that everything before them is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog

from app.core.filters.verdicts import CompiledFilters
from app.core.subjects import SubjectVault
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.ports.producer import AckGroup, GroupingProducer
from app.ports.registry import DirectoryFeed
from app.ports.stream import SchemaValidator, StreamApp, StreamBatch, StreamPartition
from app.ports.tracing import Tracer
from app.roles.ack_pipeline import PartedBatch, StreamRole, write_table
from app.roles.fanout.partition_state import PartitionState
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.fanout.rules import FanoutRules
from app.roles.fanout.slicing import SliceSize
from app.roles.fanout.traced_plan import TracedBatchPlanner, TracedPlan, span_of, trace_of

logger = structlog.get_logger(__name__)


class FanoutRole(StreamRole):
    """One fan-out worker."""

    _planner_class: type[BatchPlanner] = BatchPlanner

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
        subjects: SubjectVault | None = None,
    ) -> None:
        super().__init__(app, producer)
        self._feed = feed
        self._schemas = schemas
        self._meter = meter
        self._rules = rules
        self._clock = clock
        self._size = SliceSize(rules.slice_outputs)
        self._group = group
        self._subjects = subjects
        self._filters = CompiledFilters()
        #: partition number → the current assignment and its state
        self._states: dict[int, tuple[StreamPartition, PartitionState]] = {}

    async def _handle(self, batch: StreamBatch) -> None:
        """Plan a batch and append its outputs. The batch is acknowledged when they are."""
        await self._feed.catch_up(batch.polled_at)  # an event appended after a change must see it (DESIGN guarantee 7)
        parts = self._pipeline.parts(batch)
        slices: Iterator[BatchPlan] | None = None
        upto, end = -1, batch.records[-1].offset + 1
        while upto < end:
            async with self._pipeline.next_part():
                if not batch.partition.current or batch.partition.leaving:
                    return  # the partition's next owner reads the rest, and continues behind the last acknowledgement
                begun_s = self._clock.monotonic()
                state = self._state(batch.partition)
                slices = slices or self._planner(state).plan(batch.records)
                plan = next(slices)
                upto = plan.upto
                self._append(plan, parts, state)
                self._measure(plan, state, begun_s)
                self._size.took(self._clock.monotonic() - begun_s)

    def _planner(self, state: PartitionState) -> BatchPlanner:
        return self._planner_class(
            self._rules,
            state,
            self._feed.directory,
            lambda: self._feed.position,
            violation=self._schemas.violation,
            spent=lambda: self._schemas.spent,
            outputs=lambda: self._size.outputs,
            filters=self._filters,
            subjects=self._subjects,
        )

    def _state(self, partition: StreamPartition) -> PartitionState:
        """The state of the partition's current assignment."""
        current = self._states.get(partition.number)
        if current is not None and current[0] is partition:
            return current[1]
        state = PartitionState(
            partition.number,
            partition.read,
            group=self._group,
            start=partition.start,
            was_reset=partition.was_reset,
            moved=partition.moved,
        )
        self._states[partition.number] = (partition, state)
        if state.position.replay_id:
            logger.info(
                "fanout.replay",
                partition=partition.number,
                replay=state.position.replay_id,
                until=state.position.replay_until,
            )
        return state

    def _append(self, plan: BatchPlan, parts: PartedBatch, state: PartitionState) -> None:
        partition = parts.batch.partition
        append_final = partial(self._append_final, plan, partition, state) if plan.final_tables else None
        with parts.outputs(plan.upto, append_final) as group:
            for table, entries in plan.tables.items():
                write_table(partition, table, entries, group)
            for each in plan.appends:
                group.append(each.topic, key=each.key, value=each.value, headers=each.headers, partition=each.partition)

    def _append_final(
        self, plan: BatchPlan, partition: StreamPartition, state: PartitionState, group: AckGroup
    ) -> None:
        for table, entries in plan.final_tables.items():
            write_table(partition, table, entries, group)
        state.written(plan.final_tables.get("ordering", {}))

    def _measure(self, plan: BatchPlan, _state: PartitionState, _begun_s: float) -> None:
        for reason in plan.rejections:
            self._meter.count("events_rejected_total", reason=reason)
        for result, number in (
            ("accepted", plan.accepted),
            ("duplicate", plan.duplicates),
            ("invalid", len(plan.rejections)),
        ):
            if number:
                self._meter.count("events_ingested_total", number, result=result)
        for event_type, violation in plan.warnings:
            logger.warning("fanout.schema", type=event_type, reason=violation.reason, problem=violation.detail)
        if plan.warnings:
            self._meter.count("schema_warnings_total", len(plan.warnings))
        if plan.filtered:
            self._meter.count("deliveries_filtered_total", plan.filtered)
        if plan.ended:
            self._meter.observe("event_fanout_endpoints", plan.fanned_out / plan.ended)


class TracedFanoutRole(FanoutRole):
    """A fan-out worker that exports a span for each event."""

    _planner_class = TracedBatchPlanner

    def __init__(self, tracer: Tracer, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tracer = tracer

    def _measure(self, plan: BatchPlan, state: PartitionState, begun_s: float) -> None:
        super()._measure(plan, state, begun_s)
        assert isinstance(plan, TracedPlan)
        now_ms = self._clock.now_ms()
        began_ms = now_ms - round(max(0.0, self._clock.monotonic() - begun_s) * 1000)
        for planned in plan.events:
            if self._tracer.is_sampled(trace_of(planned)):
                span = span_of(
                    planned,
                    topic=self._rules.topic,
                    group=self._group,
                    partition=state.number,
                    started_ms=began_ms,
                    ended_ms=now_ms,
                )
                self._tracer.export(span)
