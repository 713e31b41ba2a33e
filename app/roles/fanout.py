"""The fan-out role: each batch of events.raw becomes deliveries, acknowledged before the batch is.

The agent is the shell: what a batch causes is decided in core/fanout.py. Batches of a partition are planned in order;
the acknowledgements of some are awaited while the next ones are planned, and the commit never passes an open one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from app.core import positions
from app.core.errors import HookstreamError
from app.core.fanout import Plan, Planner, Rules, position_key, rejected
from app.ports import Bundle, BundleLog, DirectoryFeed, Meter
from app.ports.streams import SchemaJudge, StreamApp, StreamBatch, StreamPartition

log = structlog.get_logger(__name__)

#: records whose acknowledgements may be outstanding
_DEPTH = 4000


class FanoutRole:
    """One fan-out worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, schemas: SchemaJudge, meter: Meter,
        rules: Rules,
        group: str, deliveries: str, aside: str, rejected: str,
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
        self._aside = aside
        self._rejected = rejected
        self._outstanding = 0
        self._fewer = asyncio.Event()
        self._positions: dict[int, tuple[StreamPartition, positions.Position]] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def ready(self) -> str | None:
        """None when a new event would be fanned out; else why not."""
        return self._app.ready() if self._app else "starting"

    async def run(self) -> None:
        """Work until cancelled; raises what a fresh instance may repair."""
        self._app = self._make_app()
        try:
            await self._app.run(self._handle)
        finally:
            for task in self._waiting:
                task.cancel()
            await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _handle(self, batch: StreamBatch) -> None:
        """Plan a batch and append what it causes; its acknowledgement follows in a task of its own."""
        while self._outstanding >= _DEPTH:
            self._fewer.clear()
            await self._fewer.wait()
        await self._log.room()
        await self._feed.fence(batch.polled_at)  # an event appended after a change must see it (DESIGN guarantee 7)
        plan, position = self._plan(batch)
        acked = asyncio.get_running_loop().create_future()
        bundle = self._log.bundle(lambda: _done(acked), lambda error: _failed(acked, error))
        self._append(batch, plan, position, bundle)
        self._outstanding += len(batch.records)
        task = asyncio.create_task(self._finish(batch, acked))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

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
        self._remember(partition, "idempotency", plan.sights, bundle)
        self._remember(partition, "ordering", plan.sequences, bundle)
        self._remember(partition, "positions", {position_key(partition.number): positions.write(position)}, bundle)
        for endpoint, headers, body in plan.deliveries:
            bundle.append(self._deliveries, key=endpoint, value=body, headers=headers)
        for endpoint, headers, body in plan.aside:
            bundle.append(self._aside, key=endpoint, value=body, headers=headers)
        for rejection in plan.rejections:
            key, value, headers = rejected(rejection, self._rules, partition.number)
            bundle.append(self._rejected, key=key, value=value, headers=headers)
            self._meter.count("events_rejected_total", reason=rejection.reason)
        bundle.close()
        self._measure(plan)

    def _remember(self, partition: StreamPartition, table: str, items: Mapping[bytes, bytes], bundle: Bundle) -> None:
        if items:
            partition.write(table, items)
            changelog = partition.changelog(table)
            for key, value in items.items():
                bundle.append(changelog, key=key, value=value, partition=partition.number)

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

    async def _finish(self, batch: StreamBatch, acked: asyncio.Future[None]) -> None:
        try:
            await acked
            await batch.ack()
        except HookstreamError as error:
            batch.fail(error)
        finally:
            self._outstanding -= len(batch.records)
            self._fewer.set()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(future: asyncio.Future[None], error: HookstreamError) -> None:
    if not future.done():
        future.set_exception(error)
