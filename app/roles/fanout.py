"""The fan-out role: each batch of events.raw becomes deliveries, acknowledged before the batch is.

The agent is the shell: what a batch causes is decided in core/fanout.py. Batches of a partition are planned in order;
the acknowledgements of some are awaited while the next ones are planned, and the commit never passes an open one.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from app.core import positions
from app.core.fanout import Plan, Planner, Rules, position_key, rejected
from app.core.watchdog import Report
from app.ports import Bundle, BundleLog, DirectoryFeed, Meter
from app.ports.streams import SchemaJudge, StreamApp, StreamBatch, StreamPartition
from app.roles.batches import BatchPipe, remember

log = structlog.get_logger(__name__)


class FanoutRole:
    """One fan-out worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, schemas: SchemaJudge, meter: Meter,
        rules: Rules,
        group: str, deliveries: str, ordered: str, aside: str, rejected: str,
    ) -> None:  # fmt: skip
        self._make_app = app
        self._app: StreamApp | None = None
        self._log = log_
        self._feed = feed
        self._schemas = schemas
        self._meter = meter
        self._rules = rules
        self._group = group
        self._deliveries = deliveries
        self._ordered = ordered
        self._aside = aside
        self._rejected = rejected
        self._pipe = BatchPipe(log_)
        self._positions: dict[int, tuple[StreamPartition, positions.Position]] = {}

    def ready(self) -> str | None:
        """None when a new event would be fanned out; else why not."""
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
        """Plan a batch and append what it causes; its acknowledgement follows by itself."""
        await self._pipe.room()
        await self._feed.fence(batch.polled_at)  # an event appended after a change must see it (DESIGN guarantee 7)
        plan, position = self._plan(batch)
        with self._pipe.outputs(batch) as bundle:
            self._append(batch, plan, position, bundle)

    def _plan(self, batch: StreamBatch) -> tuple[Plan, positions.Position]:
        partition = batch.partition
        planner = Planner(
            self._rules, partition.number, self._feed.directory, self._feed.position,
            sight=lambda key: partition.read("idempotency", key), sequence=lambda key: partition.read("ordering", key),
            violation=self._schemas.violation,
        )  # fmt: skip
        position = self._position(partition)
        plan = planner.plan(batch.records, position)
        following = positions.advance(position, batch.records[-1].offset + 1)
        self._positions[partition.number] = (partition, following)
        return plan, following

    def _position(self, partition: StreamPartition) -> positions.Position:
        known = self._positions.get(partition.number)
        if known is not None and known[0] is partition:
            return known[1]
        stored = positions.read(partition.read("positions", position_key(partition.number)))
        begun = positions.begin(stored, self._group, partition.number, partition.start, was_reset=partition.was_reset)
        if begun.replay_id:
            log.info("fanout.replay", partition=partition.number, replay=begun.replay_id, until=begun.replay_until)
        return begun

    def _append(self, batch: StreamBatch, plan: Plan, position: positions.Position, bundle: Bundle) -> None:
        partition = batch.partition
        remember(partition, "idempotency", plan.sights, bundle)
        remember(partition, "ordering", plan.sequences, bundle)
        remember(partition, "positions", {position_key(partition.number): positions.write(position)}, bundle)
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
        self._measure(plan)

    def _measure(self, plan: Plan) -> None:
        for result, number in (
            ("accepted", plan.accepted),
            ("duplicate", plan.duplicates),
            ("invalid", len(plan.rejections)),
        ):
            if number:
                self._meter.count("events_ingested_total", number, result=result)
        for event_type, problem in plan.warnings:
            log.warning("fanout.schema", type=event_type, problem=problem)
        if plan.warnings:
            self._meter.count("schema_warnings_total", len(plan.warnings))
        if plan.accepted:
            self._meter.observe("event_fanout_endpoints", len(plan.deliveries) / plan.accepted)
