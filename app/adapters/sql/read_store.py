"""Query the read model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, func, select

from app.adapters.sql import event_list, index_paths, overview, paging, tables
from app.adapters.sql.database import Database
from app.adapters.sql.tables import DEAD
from app.core.model.event import Mode
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.rows import (
    AttemptCounts,
    AttemptRow,
    AuditRow,
    DeadLetterGroup,
    DeliveryFilter,
    DeliveryPage,
    DeliveryRow,
    EventFilter,
    EventPage,
    FailedCounts,
    HourRow,
    LastFailure,
    NoticeRow,
    Traffic,
)

_d = tables.deliveries.c
_a = tables.attempts.c
_h = tables.hours.c
_n = tables.notices.c
_u = tables.audit.c
DELIVERIES = paging.Listing(tables.deliveries, (_d.created_at_ms, _d.id), ends_in_text=True)
#: attempts of one delivery that are returned; a schedule has about ten
_ATTEMPTS = 1000
#: dead deliveries that are grouped
_GROUPED = 50_000


class SqlReadStore:
    """`app.ports.readmodel.ReadStore` on SQLAlchemy Core."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            rows, onward = await paging.page(
                connection, DELIVERIES, index_paths.ways(which), limit=limit, cursor=cursor
            )
        return DeliveryPage(rows=[_delivery(row) for row in rows], cursor=onward)

    async def events(self, which: EventFilter, *, limit: int, cursor: str | None = None) -> EventPage:
        """See `app.ports.readmodel.ReadStore`."""
        ways = event_list.ways(which, is_sqlite=self._database.is_sqlite)
        async with self._database.reading() as connection:
            rows, onward = await paging.page(connection, event_list.EVENTS, ways, limit=limit, cursor=cursor)
        return EventPage(rows=[event_list.event_row(row) for row in rows], cursor=onward)

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        """See `app.ports.readmodel.ReadStore`."""
        query = select(tables.deliveries).where(_d.id == delivery_id, _d.tenant == tenant, _d.mode == mode)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).first()
        return _delivery(row) if row is not None else None

    async def delivery_of_any_tenant(self, delivery_id: str) -> DeliveryRow | None:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(tables.deliveries).where(_d.id == delivery_id))).first()
        return _delivery(row) if row is not None else None

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        """See `app.ports.readmodel.ReadStore`."""
        own = select(_d.id).where(_d.id == delivery_id, _d.tenant == tenant, _d.mode == mode)
        query = (
            select(tables.attempts)
            .where(_a.delivery_id == delivery_id, own.exists())
            .order_by(_a.number, _a.offset)
            .limit(_ATTEMPTS)
        )
        async with self._database.reading() as connection:
            return [_attempt(row) for row in await connection.execute(query)]

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            return await paging.count(connection, DELIVERIES, index_paths.ways(which), at_most=at_most)

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[HourRow]:
        """See `app.ports.readmodel.ReadStore`."""
        query = (
            select(_h.begins_ms, *(func.sum(_h[name]).label(name) for name in tables.COUNT_COLUMNS))
            .where(_h.tenant == tenant, _h.mode == mode, _h.endpoint_id == (endpoint_id or ""))
            .where(_h.begins_ms >= since_ms, _h.begins_ms < until_ms)
            .group_by(_h.begins_ms)
            .order_by(_h.begins_ms)
        )
        async with self._database.reading() as connection:
            return [_hour(row) for row in await connection.execute(query)]

    async def attempt_counts(
        self, tenant: str, mode: Mode, endpoint_ids: Collection[str], *, since_ms: int, until_ms: int
    ) -> Mapping[str, AttemptCounts]:
        """See `app.ports.readmodel.ReadStore`."""
        attempts, failed = func.sum(_h.attempts), func.sum(_h.failed_attempts)
        query = (
            select(_h.endpoint_id, attempts.label("attempts"), failed.label("failed"))
            .where(_h.tenant == tenant, _h.mode == mode, _h.endpoint_id.in_(endpoint_ids))
            .where(_h.begins_ms >= since_ms, _h.begins_ms < until_ms)
            .group_by(_h.endpoint_id)
            .having(attempts > 0)
        )
        async with self._database.reading() as connection:
            return {
                row.endpoint_id: AttemptCounts(attempts=int(row.attempts), failed=int(row.failed))
                for row in await connection.execute(query)
            }

    async def traffic(self, *, since_ms: int, until_ms: int, busiest: int) -> Traffic:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.snapshot() as connection:
            return await overview.traffic(connection, since_ms, until_ms, busiest)

    async def without_success(self, *, since_ms: int, limit: int) -> Sequence[FailedCounts]:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            rows = await connection.execute(overview.without_success(since_ms, limit))
            return [FailedCounts(**row._mapping) for row in rows]

    async def count_events(self, which: EventFilter, *, at_most: int) -> int:
        """See `app.ports.readmodel.ReadStore`."""
        ways = event_list.ways(which, is_sqlite=self._database.is_sqlite)
        async with self._database.reading() as connection:
            return await paging.count(connection, event_list.EVENTS, ways, at_most=at_most)

    async def recent_types(self, tenant: str, mode: Mode, *, limit: int) -> Sequence[str]:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            return list(await connection.scalars(event_list.recent_types(tenant, mode, limit)))

    async def last_failures(self, endpoints: Collection[tuple[str, Mode, str]]) -> Mapping[str, LastFailure]:
        """See `app.ports.readmodel.ReadStore`."""
        query = overview.last_failures(endpoints, is_sqlite=self._database.is_sqlite)
        async with self._database.reading() as connection:
            return overview.latest(await connection.execute(query))

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadLetterGroup]:
        """See `app.ports.readmodel.ReadStore`. Of the last 50,000 that died."""
        newest = (
            select(_d.endpoint_id, _d.reason, _d.result, _d.status, _d.updated_at_ms)
            .where(_d.tenant == tenant, _d.mode == mode, DEAD, _d.updated_at_ms >= since_ms)
            .order_by(_d.updated_at_ms.desc())
            .limit(_GROUPED)
            .subquery()
            .c
        )
        alike = (newest.endpoint_id, newest.reason, newest.result, newest.status)
        number = func.count().label("number")
        first, last = func.min(newest.updated_at_ms), func.max(newest.updated_at_ms)
        query = (
            select(*alike, number, first, last)
            .group_by(*alike)
            .order_by(number.desc(), last.desc(), *alike)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [
                DeadLetterGroup(
                    endpoint_id=endpoint,
                    reason=reason or "",
                    result=result or "",
                    status=status,
                    count=count,
                    first_ms=since,
                    last_ms=until,
                )
                for endpoint, reason, result, status, count, since, until in await connection.execute(query)
            ]

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        """See `app.ports.readmodel.ReadStore`."""
        query = select(tables.notices).where(_n.tenant == tenant, _n.mode == mode)
        if endpoint_id is not None:
            query = query.where(_n.endpoint_id == endpoint_id)
        if before_ms is not None:
            query = query.where(_n.at_ms < before_ms)
        query = query.order_by(_n.at_ms.desc(), _n.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [_notice(row) for row in await connection.execute(query)]

    async def audit(self, tenant: str, mode: Mode, *, limit: int, before: int | None = None) -> Sequence[AuditRow]:
        """See `app.ports.readmodel.ReadStore`. One index span for each of the two modes, merged."""
        rows: list[AuditRow] = []
        async with self._database.reading() as connection:
            for each in (mode, ""):
                query = select(tables.audit).where(_u.tenant == tenant, _u.mode == each)
                if before is not None:
                    query = query.where(_u.offset < before)
                query = query.order_by(_u.offset.desc()).limit(limit)
                rows += [_audited(row) for row in await connection.execute(query)]
        return sorted(rows, key=lambda row: -row.position)[:limit]

    async def updated_at_ms(self) -> int | None:
        """See `app.ports.readmodel.ReadStore`."""
        async with self._database.reading() as connection:
            newest = await connection.scalar(select(func.max(tables.offsets.c.newest_ms)))
        return int(newest) if newest else None

    async def read_to(self) -> Mapping[PartitionId, int]:
        """Topic and partition → the offset that is read next."""
        columns = tables.offsets.c
        async with self._database.reading() as connection:
            rows = await connection.execute(select(columns.topic, columns.partition, columns.next_offset))
            return {(topic, number): offset for topic, number, offset in rows}

    async def close(self) -> None:
        """Disconnect."""
        await self._database.close()


def _delivery(row: Row[Any]) -> DeliveryRow:
    return DeliveryRow(
        id=row.id,
        tenant=row.tenant,
        mode=row.mode,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        state=row.state,
        attempts=row.attempts,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        status=row.status,
        result=row.result,
        error=row.error,
        next_attempt_at_ms=row.next_attempt_at_ms if row.state in ("pending", "retrying") else None,
        duration_ms=row.duration_ms,
        reason=row.reason,
        replay_id=row.replay_id,
        sequence=row.sequence,
        ordering_key=row.ordering_key,
        source=(row.source_partition, row.source_offset) if row.source_offset is not None else None,
        arrival=row.arrival,
        dead_offset=row.dead_offset,
    )


def _attempt(row: Row[Any]) -> AttemptRow:
    return AttemptRow(
        delivery_id=row.delivery_id,
        number=row.number,
        trigger=row.trigger,
        state=row.state,
        result=row.result,
        started_at_ms=row.started_at_ms,
        duration_ms=row.duration_ms,
        connect_ms=row.connect_ms,
        first_byte_ms=row.first_byte_ms,
        url=row.url,
        status=row.status,
        error=row.error,
        next_attempt_at_ms=row.next_attempt_at_ms,
        response_body=row.response_body,
        response_headers=msgspec.json.decode(row.response_headers) if row.response_headers else {},
    )


def _hour(row: Row[Any]) -> HourRow:
    return HourRow(
        begins_ms=row.begins_ms,
        attempts=int(row.attempts),
        failed_attempts=int(row.failed_attempts),
        delivered=int(row.delivered),
        dead=int(row.dead),
        cancelled=int(row.cancelled),
        durations=[int(row._mapping[name]) for name in tables.DURATION_COLUMNS],
    )


def _notice(row: Row[Any]) -> NoticeRow:
    return NoticeRow(
        id=row.id,
        tenant=row.tenant,
        mode=row.mode,
        kind=row.kind,
        at_ms=row.at_ms,
        endpoint_id=row.endpoint_id,
        summary=row.summary,
        data=msgspec.json.decode(row.data),
    )


def _audited(row: Row[Any]) -> AuditRow:
    before, after = (None if text is None else msgspec.json.decode(text) for text in (row.before, row.after))
    return AuditRow(
        position=row.offset,
        tenant=row.tenant,
        mode=row.mode,
        at_ms=row.at_ms,
        actor=row.actor,
        action=row.action,
        entity=row.entity,
        version=row.version,
        detail=row.detail,
        before=before,
        after=after,
    )
