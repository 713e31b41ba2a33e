"""The projection role: keeps rows about events and deliveries that can be searched.

Rules of this file
- The offsets are stored in the database, in the transaction of the rows, so each record counts once whatever crashes.
  The offsets committed to Kafka only report progress; the role never continues from them.
- While the database is unreachable, the role waits and reports the reason in `ready`. Kafka keeps the records.
- Records that are polled within a short time are one transaction: a delivery and its first attempt are written as one
  row, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import structlog

from app.core.errors import Defect, LogMoved, Unavailable
from app.core.offsets.log_moves import LogMove
from app.core.offsets.partitions import CommittedOffset, PartitionId
from app.core.offsets.progress import PartitionProgress, RoleReport
from app.core.readmodel.batch import TOPICS, ProjectionBatch
from app.core.readmodel.event_index import RawEventFormat
from app.core.readmodel.tenant_rules import TenantRules, restrict
from app.core.records.audit import TENANT_DELETED
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import Record, SeekableConsumer
from app.ports.metrics import Meter
from app.ports.readmodel import OffsetAdvance, ProjectionStore
from app.roles.projection.deleted_tenants import DeletedTenants

logger = structlog.get_logger(__name__)

T = TypeVar("T")

_POLL_MS = 1000
#: records of one transaction at most, and seconds during which they are gathered
_MOST = 4000
_GATHER_S = 0.1
#: seconds between tries while the database is unreachable
_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_COMMIT_EVERY_S = 1.0
_PRUNE_EVERY_S = 60.0
_PRUNED = 500
_DAY_MS = 86_400_000
#: the retention of the topic
_AUDIT_MS = 365 * _DAY_MS
#: seconds that a revocation waits for a transaction in progress
_REVOKE_WAIT_S = 3.0


class ProjectionRole:
    """One projection worker."""

    def __init__(
        self,
        *,
        source: SeekableConsumer,
        store: ProjectionStore,
        topics: Topics,
        clock: Clock,
        meter: Meter,
        rules: TenantRules,
        retention_days: float,
        max_event_bytes: int,
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._meter = meter
        self._rules = rules
        self._retention_ms = retention_days * _DAY_MS
        self._form = RawEventFormat(topics.name(TopicName.EVENTS_RAW), max_event_bytes)
        self._logical = {topics.name(name): name for name in TOPICS}
        self._assigned: set[PartitionId] = set()
        #: partition (with the topic's full name) → the next offset in the database; without an entry it is not read
        self._next: dict[PartitionId, int] = {}
        self._has_assignment = False
        self._writing = asyncio.Lock()
        self._trouble: str | None = None
        self._committed_s = 0.0
        self._deleted = DeletedTenants()
        #: set when a tenant was deleted: its rows are removed at once
        self._prune_now = asyncio.Event()

    def ready(self) -> str | None:
        """None if a new attempt would become visible; else the reason why not."""
        if self._trouble is not None:
            return self._trouble
        if not self._has_assignment:
            return "waiting for the assignment of partitions"
        return None if self._next.keys() >= self._assigned else "loading the offsets from the database"

    def report(self) -> RoleReport:
        """Progress for the watchdog: a record was read or written. Waiting for the database is not being stuck."""
        waits_s = self._clock.monotonic() + 2 * _AGAIN_S[-1] if self._trouble else None
        busy = self._writing.locked()
        places = {}
        for place in self._assigned:
            low, read = self._next.get(place), self._source.position(place)
            if low is not None and read is not None and not busy:
                low = max(low, read)
            places[place] = PartitionProgress(low, (read or 0,), waits_s)
        return RoleReport(places, settling=None if self._has_assignment or self._trouble else self.ready())

    async def run(self) -> None:
        """Work until cancelled. Raises errors that a restart of the role may repair."""
        try:
            await self._patiently(self._store.prepare)
            for tenant, at_ms in await self._patiently(self._store.deleted_tenants):
                self._deleted.add(tenant, at_ms, self._clock.now_ms())
            await self._source.start(self)
            pruning = asyncio.create_task(self._prune_loop())
            try:
                while True:
                    await self._turn()
            finally:
                pruning.cancel()
                await asyncio.gather(pruning, return_exceptions=True)
                await self._source.stop()
        finally:
            await self._store.close()

    # --- partitions -------------------------------------------------------------------------------------------------

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`. Reading begins at the database's offset, once it is loaded."""
        self._assigned |= set(places)
        self._has_assignment = True
        self._meter.count("rebalances_total", role="projection")

    async def revoked(self, places: set[PartitionId]) -> None:
        """Drop the partitions. Waits for a transaction in progress; a later one is refused by the database."""
        self._assigned -= places
        try:
            async with asyncio.timeout(_REVOKE_WAIT_S), self._writing:
                pass
        except TimeoutError:
            pass
        for place in places:
            self._next.pop(place, None)

    async def _find_offsets(self) -> None:
        """Seek to the database's offsets in assigned partitions that are not read yet."""
        places = self._assigned - self._next.keys()
        offsets = await self._patiently(lambda: self._store.offsets([self._named(place) for place in places]))
        for place in places & self._assigned:
            self._next[place] = offsets[self._named(place)]
            self._source.seek(place, self._next[place])
            self._source.resume(place)

    def _named(self, place: PartitionId) -> PartitionId:
        return self._logical[place[0]], place[1]

    # --- work -------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        if self._assigned - self._next.keys():
            await self._find_offsets()
        batches = await self._gather()
        async with self._writing:
            try:
                goes_on = await (self._write(batches) if batches else self._pass_markers())
            except Defect as error:
                logger.error("projection.refused", error=str(error))
                goes_on = await self._one_by_one(batches)
        if not goes_on:
            logger.warning("projection.moved_elsewhere")
            self._forget()
            return
        await self._commit()

    async def _pass_markers(self) -> bool:
        """Advance over transaction markers, which are not records: a rebuild waits for the end of the log.

        Returns False if another process has advanced one of the partitions.
        """
        moved = {
            place: OffsetAdvance(begin, position, 0)
            for place, begin in self._next.items()
            if place in self._assigned and (position := self._source.position(place) or 0) > begin
        }
        if moved and not await self._patiently(lambda: self._store.write(ProjectionBatch(), self._by_name(moved))):
            return False
        self._written(ProjectionBatch(), moved)
        return True

    async def _write(self, batches: Mapping[PartitionId, Sequence[Record]]) -> bool:
        """Write one transaction. Returns False if another process has advanced one of the partitions."""
        batch, moved = self._batch(batches)
        if moved and not await self._patiently(lambda: self._store.write(batch, self._by_name(moved))):
            return False
        self._written(batch, moved)
        return True

    async def _one_by_one(self, batches: Mapping[PartitionId, Sequence[Record]]) -> bool:
        """Write record by record, and skip the record with the value that the database refuses."""
        for place, records in batches.items():
            for record in records:
                try:
                    goes_on = await self._write({place: [record]})
                except Defect as error:
                    logger.error("projection.unreadable", place=place, offset=record.offset, error=str(error))
                    self._meter.count("records_unreadable_total", topic="projection")
                    goes_on = await self._skip(place, record)
                if not goes_on:
                    return False
        return True

    async def _skip(self, place: PartitionId, record: Record) -> bool:
        begin = self._next.get(place)
        if begin is None:
            return True
        moved = {place: OffsetAdvance(begin, record.offset + 1, record.timestamp)}
        written = await self._patiently(lambda: self._store.write(ProjectionBatch(), self._by_name(moved)))
        if written:
            self._written(ProjectionBatch(), moved)
        return written

    async def _gather(self) -> dict[PartitionId, list[Record]]:
        """Records for one transaction: the first ones, and those that follow within a short time."""
        gathered: dict[PartitionId, list[Record]] = {}
        until_s, number, timeout_ms = 0.0, 0, _POLL_MS
        while number < _MOST:
            try:
                polled = await self._source.poll(timeout_ms=timeout_ms, max_records=_MOST - number)
            except LogMoved as error:
                await self._follow(error.moves)
                raise
            now_s = self._clock.monotonic()
            for place, records in polled.items():
                gathered.setdefault(place, []).extend(records)
                number += len(records)
            if not gathered:
                break
            until_s = until_s or now_s + _GATHER_S
            timeout_ms = round((until_s - now_s) * 1000)
            if timeout_ms <= 0:
                break
        return gathered

    async def _follow(self, moves: Mapping[PartitionId, LogMove]) -> None:
        """Follow logs that have moved: write the offsets where reading continues to the database."""
        for place, move in moves.items():
            if move.kind == "shorter":
                raise _elsewhere(place, move.position, move.resume)
        places = [self._named(place) for place in moves]
        there = await self._patiently(lambda: self._store.offsets(places))
        moved = {place: OffsetAdvance(there[self._named(place)], move.resume, 0) for place, move in moves.items()}
        if moved:
            await self._patiently(lambda: self._store.write(ProjectionBatch(), self._by_name(moved)))

    def _batch(
        self, batches: Mapping[PartitionId, Sequence[Record]]
    ) -> tuple[ProjectionBatch, dict[PartitionId, OffsetAdvance]]:
        batch, moved = ProjectionBatch(self._form), {}
        order = {name: rank for rank, name in enumerate(TOPICS)}
        for place in sorted(batches, key=lambda each: (order[self._logical[each[0]]], each[1])):
            begin = self._next.get(place)
            if begin is None or place not in self._assigned:
                continue
            records = batches[place]
            if records[0].offset < begin:
                raise _elsewhere(place, begin, records[0].offset)
            for record in records:
                batch.take(self._logical[place[0]], record)
            moved[place] = OffsetAdvance(begin, records[-1].offset + 1, max(record.timestamp for record in records))
        restrict(batch, self._rules)
        return batch, moved

    def _by_name(self, moved: Mapping[PartitionId, OffsetAdvance]) -> dict[PartitionId, OffsetAdvance]:
        return {self._named(place): to for place, to in moved.items()}

    def _written(self, batch: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]) -> None:
        self._next |= {place: to.next for place, to in moved.items() if place in self._next}
        if batch.unreadable:
            logger.error("projection.unreadable", records=batch.unreadable)
            self._meter.count("records_unreadable_total", batch.unreadable, topic="projection")
        for line in batch.audit:
            if line.entry.action == TENANT_DELETED:
                self._deleted.add(line.entry.tenant, line.at_ms, self._clock.now_ms())
                self._prune_now.set()
        if batch.facts:
            oldest_ms = min(fact.at_ms for fact in batch.facts)
            self._meter.observe("projection_age_seconds", max(0.0, (self._clock.now_ms() - oldest_ms) / 1000))

    def _forget(self) -> None:
        """Reload the offsets of all partitions from the database."""
        self._source.pause(*self._assigned)
        self._next.clear()

    async def _commit(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._committed_s >= _COMMIT_EVERY_S:
            self._committed_s = now_s
            # Between two polls all polled records are written; the position may be behind further transaction markers.
            reached = {place: max(to, self._source.position(place) or 0) for place, to in self._next.items()}
            await self._source.commit({place: (to, "") for place, to in reached.items()})

    async def _prune_loop(self) -> None:
        """Remove rows past their retention, in small steps."""
        while True:
            await self._until_pruning()
            await self._remove_tenants()
            removed = _PRUNED
            while removed == _PRUNED:
                before_ms = round(self._clock.now_ms() - self._retention_ms)
                try:
                    removed = await self._store.prune(
                        before_ms, audit_before_ms=min(before_ms, self._clock.now_ms() - _AUDIT_MS), limit=_PRUNED
                    )
                except Unavailable as error:
                    logger.warning("projection.not_pruned", reason=str(error))
                    break
                await self._clock.sleep(_GATHER_S)

    async def _until_pruning(self) -> None:
        """Wait for the next time to remove rows, or for the deletion of a tenant."""
        waiting = asyncio.create_task(self._clock.sleep(_PRUNE_EVERY_S))
        deletion = asyncio.create_task(self._prune_now.wait())
        try:
            await asyncio.wait([waiting, deletion], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            deletion.cancel()
            await asyncio.gather(waiting, deletion, return_exceptions=True)
        self._prune_now.clear()

    async def _remove_tenants(self) -> None:
        """Remove the rows of deleted tenants, and old rows of tenants with days of their own, in small steps."""
        for tenant, until_ms in self._deleted.due(self._clock.now_ms()):
            if not await self._remove(tenant, partial(self._store.remove_tenant, tenant, until_ms, limit=_PRUNED)):
                return
        for tenant, before_ms in self._rules.limited():
            if not await self._remove(tenant, partial(self._store.remove_old, tenant, before_ms, limit=_PRUNED)):
                return

    async def _remove(self, tenant: str, step: Callable[[], Awaitable[int]]) -> bool:
        """Repeat a step until nothing is left; False: the database is not reachable."""
        removed = _PRUNED
        while removed >= _PRUNED:
            try:
                removed = await step()
            except Unavailable as error:
                logger.warning("projection.tenant_not_removed", tenant=tenant, reason=str(error))
                return False
            if removed:
                await self._clock.sleep(_GATHER_S)
        return True

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat until the database is reachable."""
        turn = 0
        while True:
            try:
                done = await work()
            except Unavailable as error:
                if self._trouble is None:
                    logger.info("projection.waiting", reason=str(error))
                self._trouble = str(error)
                await self._clock.sleep(_AGAIN_S[min(turn, len(_AGAIN_S) - 1)])
                turn += 1
            else:
                if self._trouble is not None:
                    logger.info("projection.resumed")
                self._trouble = None
                return done


def _elsewhere(place: PartitionId, read_to: int, begin: int) -> Unavailable:
    return Unavailable(
        f"The read model has read {place[0]}, partition {place[1]}, up to {read_to}, but Kafka begins at {begin} "
        "again: it is of another Kafka. Run `hookstream readmodel rebuild`."
    )
