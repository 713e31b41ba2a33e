"""The fan-out role: each batch of events.raw becomes deliveries, acknowledged before the batch is.

The agent is the shell: what a batch causes is decided in core/fanout.py. Batches of a partition are planned in order;
the acknowledgements of some are awaited while the next ones are planned, and the commit never passes an open one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from app.core import positions
from app.core.errors import HookstreamError
from app.core.fanout import Plan, Planner, Rules, position_key, rejection_headers
from app.ports import BundleLog, DirectoryFeed, Meter, StreamApp, StreamBatch

log = structlog.get_logger(__name__)

#: batches whose acknowledgements may be outstanding
_DEPTH = 4


class FanoutRole:
    """One fan-out worker."""

    def __init__(
        self, *, app: Callable[[], StreamApp], log_: BundleLog, feed: DirectoryFeed, meter: Meter, rules: Rules,
        group: str, deliveries: str, rejected: str,
    ) -> None:  # fmt: skip
        self._make_app = app
        self._app: StreamApp | None = None
        self._log = log_
        self._feed = feed
        self._meter = meter
        self._rules = rules
        self._group = group
        self._deliveries = deliveries
        self._rejected = rejected
        self._depth = asyncio.Semaphore(_DEPTH)
        self._positions: dict[int, tuple[int, positions.Position]] = {}
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
        await self._depth.acquire()
        try:
            await self._log.room()
            await self._feed.fence()  # an event appended after a change must see it (DESIGN guarantee 7)
            plan, position = self._plan(batch)
            acked = asyncio.get_running_loop().create_future()
            bundle = self._log.bundle(lambda: _done(acked), lambda error: _failed(acked, error))
            self._append(batch, plan, position, bundle)
        except BaseException:
            self._depth.release()
            raise
        task = asyncio.create_task(self._finish(batch, acked))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _plan(self, batch: StreamBatch) -> tuple[Plan, positions.Position]:
        tables = batch.tables
        planner = Planner(
            self._rules, batch.partition, self._feed.directory, self._feed.position,
            sight=lambda key: tables.read("idempotency", key), sequence=lambda key: tables.read("ordering", key),
        )  # fmt: skip
        position = self._position(batch)
        plan = planner.plan(batch.records, position)
        following = positions.advance(position, batch.committed, batch.records[-1].offset + 1)
        self._positions[batch.partition] = (batch.assignment, following)
        return plan, following

    def _position(self, batch: StreamBatch) -> positions.Position:
        known = self._positions.get(batch.partition)
        if known is not None and known[0] == batch.assignment:
            return known[1]
        stored = positions.read(batch.tables.read("positions", position_key(batch.partition)))
        begun = positions.begin(stored, self._group, batch.partition, batch.start)
        if begun.replay_id:
            log.info("fanout.replay", partition=batch.partition, replay=begun.replay_id, until=begun.replay_until)
        return begun

    def _append(self, batch: StreamBatch, plan: Plan, position: positions.Position, bundle: Any) -> None:
        writes = {
            "idempotency": plan.sights,
            "ordering": plan.sequences,
            "positions": {position_key(batch.partition): positions.write(position)},
        }
        for table, items in writes.items():
            if items:
                batch.tables.write(table, items)
                changelog = batch.tables.changelog(table)
                for key, value in items.items():
                    bundle.append(changelog, key=key, value=value, partition=batch.partition)
        for endpoint, headers, body in plan.deliveries:
            bundle.append(self._deliveries, key=endpoint, value=body, headers=headers)
        for rejection in plan.rejections:
            headers = rejection_headers(rejection, self._rules.topic, batch.partition)
            bundle.append(self._rejected, key=rejection.record.key, value=rejection.record.value, headers=headers)
            self._meter.count("events_rejected_total", reason=rejection.reason)
        bundle.close()
        self._measure(plan)

    def _measure(self, plan: Plan) -> None:
        for result, number in (
            ("accepted", plan.accepted),
            ("duplicate", plan.duplicates),
            ("invalid", len(plan.rejections)),
        ):
            if number:
                self._meter.count("events_ingested_total", number, result=result)
        if plan.accepted:
            self._meter.observe("event_fanout_endpoints", len(plan.deliveries) / plan.accepted)

    async def _finish(self, batch: StreamBatch, acked: asyncio.Future[None]) -> None:
        try:
            await acked
            await batch.ack()
        except HookstreamError as error:
            batch.fail(error)
        finally:
            self._depth.release()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(future: asyncio.Future[None], error: HookstreamError) -> None:
    if not future.done():
        future.set_exception(error)
