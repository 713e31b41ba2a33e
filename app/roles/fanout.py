"""The fan-out role: each batch of events.raw becomes deliveries, acknowledged before the batch is.

The agent is the shell: what a batch causes is decided in core/fanout.py. Batches of a partition are planned in order;
the acknowledgements of some are awaited while the next ones are planned, and the commit never passes an open one.

Sequences are written last, when the sights that they were given to are safe. A crash between two changelogs would else
leave a count that is ahead of what it has counted: the event is read again, finds itself unknown, and takes another
number. Behind it may be: a record that is read again says which number it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from app.core import positions
from app.core.fanout import Plan, Planner, Rules, dropped, position_key, rejected
from app.core.watchdog import Report
from app.ports import Bundle, BundleLog, DirectoryFeed, Meter
from app.ports.streams import SchemaJudge, StreamApp, StreamBatch, StreamPartition
from app.roles.batches import BatchPipe, remember

log = structlog.get_logger(__name__)


class _Counts:
    """The table `ordering` of a partition, with what is planned and not yet safe to write."""

    def __init__(self, partition: StreamPartition) -> None:
        self.partition = partition
        self._ahead: dict[bytes, bytes] = {}

    def read(self, key: bytes) -> bytes | None:
        """The latest planned sequence of an ordering key."""
        return self._ahead.get(key) or self.partition.read("ordering", key)

    def plan(self, sequences: Mapping[bytes, bytes | None]) -> None:
        """Know them for the next batch."""
        self._ahead.update((key, value) for key, value in sequences.items() if value is not None)

    def write(self, sequences: Mapping[bytes, bytes | None], bundle: Bundle) -> None:
        """Their sights are safe."""
        remember(self.partition, "ordering", sequences, bundle)
        for key, value in sequences.items():
            if self._ahead.get(key) == value:
                del self._ahead[key]


class FanoutRole:
    """One fan-out worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, schemas: SchemaJudge, meter: Meter,
        rules: Rules,
        group: str, deliveries: str, ordered: str, aside: str, rejected: str,
        duplicates: str,
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
        self._duplicates = duplicates
        self._pipe = BatchPipe(log_)
        self._positions: dict[int, tuple[StreamPartition, positions.Position]] = {}
        self._counts: dict[int, _Counts] = {}

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
        if not batch.partition.current:
            return  # whoever has the partition now reads it
        plan, position = self._plan(batch)
        counts = self._counts_of(batch.partition)
        counts.plan(plan.sequences)
        last_words = partial(counts.write, plan.sequences) if plan.sequences else None
        with self._pipe.outputs(batch, last_words) as bundle:
            self._append(batch, plan, position, bundle)

    def _plan(self, batch: StreamBatch) -> tuple[Plan, positions.Position]:
        partition = batch.partition
        planner = Planner(
            self._rules, partition.number, self._feed.directory, self._feed.position,
            sight=lambda key: partition.read("idempotency", key), sequence=self._counts_of(partition).read,
            violation=self._schemas.violation, start=partition.start,
        )  # fmt: skip
        position = self._position(partition)
        plan = planner.plan(batch.records, position)
        following = positions.advance(position, batch.records[-1].offset + 1)
        self._positions[partition.number] = (partition, following)
        return plan, following

    def _counts_of(self, partition: StreamPartition) -> _Counts:
        known = self._counts.get(partition.number)
        if known is None or known.partition is not partition:
            known = self._counts[partition.number] = _Counts(partition)
        return known

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
        for drop in plan.duplicates:
            key, headers = dropped(drop, self._rules, partition.number)
            bundle.append(self._duplicates, key=key, value=b"", headers=headers, partition=partition.number)
        self._measure(plan)

    def _measure(self, plan: Plan) -> None:
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
        if plan.accepted:
            self._meter.observe("event_fanout_endpoints", len(plan.deliveries) / plan.accepted)
