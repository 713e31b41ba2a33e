"""Remove rows of a tenant from the read model, some in each transaction: all of a deleted one, and old ones of a tenant
with days of its own. Audit entries stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql import tables
from app.core.records.audit import TENANT_DELETED

_MODES = ("live", "test")


async def deleted_tenants(connection: AsyncConnection) -> Sequence[tuple[str, int]]:
    """The tenants whose deletion the audit log has, with its time in milliseconds."""
    columns = tables.audit.c
    rows = await connection.execute(select(columns.tenant, columns.at_ms).where(columns.action == TENANT_DELETED))
    return [(tenant, at_ms) for tenant, at_ms in rows]


async def remove_some(connection: AsyncConnection, tenant: str, until_ms: int, limit: int) -> int:
    """Remove at most about `limit` rows of a tenant that are not younger than `until_ms`. Returns how many."""
    removed = await _deliveries(connection, tenant, until_ms, limit)
    for table, time in ((tables.events, "at_ms"), (tables.notices, "at_ms"), (tables.hours, "begins_ms")):
        if removed < limit:
            old = [*_of(table, tenant), table.c[time] <= until_ms]
            removed += await _rows(connection, table, old, limit - removed)
    return removed


async def remove_old(connection: AsyncConnection, tenant: str, before_ms: int, limit: int) -> int:
    """Remove at most about `limit` rows of a tenant that are older than `before_ms`. Returns how many.

    Events go first: one must not outlive its deliveries, because it would seem to have had none.
    """
    removed = await _rows(connection, tables.events, _before(tables.events, tenant, "at_ms", before_ms), limit)
    if removed < limit:
        unchanged = tables.deliveries.c.updated_at_ms < before_ms
        removed += await _deliveries(connection, tenant, before_ms - 1, limit - removed, unchanged)
    waiting = select(tables.deliveries.c.id).where(*_before(tables.deliveries, tenant, "created_at_ms", before_ms))
    of_others = [
        (tables.attempts, func.coalesce(tables.attempts.c.at_ms, tables.attempts.c.started_at_ms)),
        (tables.unsent_ends, tables.unsent_ends.c.at_ms),
    ]
    for table, time in of_others:
        if removed < limit:
            old = [table.c.delivery_id.in_(waiting), time < before_ms]
            removed += await _rows(connection, table, old, limit - removed)
    for table, name in ((tables.notices, "at_ms"), (tables.hours, "begins_ms")):
        if removed < limit:
            old = _before(table, tenant, name, before_ms)
            removed += await _rows(connection, table, old, limit - removed)
    return removed


async def _deliveries(
    connection: AsyncConnection, tenant: str, until_ms: int, limit: int, *more: ColumnElement[bool]
) -> int:
    columns = tables.deliveries.c
    old = select(columns.id).where(*_of(tables.deliveries, tenant), columns.created_at_ms <= until_ms, *more)
    ids = list((await connection.scalars(old.limit(limit))).all())
    if ids:
        for table in (tables.attempts, tables.unsent_ends):
            await connection.execute(delete(table).where(table.c.delivery_id.in_(ids)))
        await connection.execute(delete(tables.deliveries).where(columns.id.in_(ids)))
    return len(ids)


async def _rows(connection: AsyncConnection, table: Table, old: Sequence[ColumnElement[bool]], limit: int) -> int:
    primary = list(table.primary_key)
    keys = [tuple(row) for row in await connection.execute(select(*primary).where(*old).limit(limit))]
    if keys:
        await connection.execute(delete(table).where(tuple_(*primary).in_(keys)))
    return len(keys)


def _before(table: Table, tenant: str, time: str, before_ms: int) -> list[ColumnElement[bool]]:
    return [*_of(table, tenant), table.c[time] < before_ms]


def _of(table: Table, tenant: str) -> list[ColumnElement[bool]]:
    """Conditions that the indexes by tenant and mode answer."""
    return [table.c.tenant == tenant, table.c.mode.in_(_MODES)]
