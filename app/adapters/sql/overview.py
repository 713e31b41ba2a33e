"""The operator's overview: traffic of all tenants, and how endpoints failed last."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    String,
    Text,
    bindparam,
    cast,
    func,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.index_paths import Condition
from app.adapters.sql.tables import OF_TENANTS, deliveries, hours
from app.core.model.event import Mode
from app.core.readmodel.hourly_stats import HOUR_MS
from app.core.readmodel.rows import LastFailure, TenantTraffic, Traffic

_h = hours.c
#: rows of `hours` that are summed: one for each hour, tenant, mode and partition of `attempts`
MAX_ROWS = 200_000
_SUMS = ("attempts", "failed_attempts", "delivered", "dead")


async def traffic(connection: AsyncConnection, since_ms: int, until_ms: int, busiest: int) -> Traffic:
    """See `app.ports.readmodel.ReadStore`."""
    newest = (_h.begins_ms.desc(), _h.tenant.desc(), _h.mode.desc())
    span: list[Condition] = [OF_TENANTS, _h.begins_ms >= since_ms, _h.begins_ms < until_ms]
    first_left_out = await connection.scalar(
        select(_h.begins_ms).where(*span).order_by(*newest).offset(MAX_ROWS).limit(1)
    )
    if first_left_out is not None:
        latest = await connection.scalar(select(func.max(_h.begins_ms)).where(*span))
        since_ms = min(first_left_out + HOUR_MS, latest)
        span.append(_h.begins_ms >= since_ms)
    some = (
        select(_h.tenant, _h.mode, *(_h[name] for name in _SUMS))
        .where(*span)
        .order_by(*newest)
        .limit(MAX_ROWS)
        .subquery()
        .c
    )
    sums = {name: func.sum(some[name]) for name in _SUMS}
    query = (
        select(
            some.tenant,
            some.mode,
            *(each.label(name) for name, each in sums.items()),
            *(func.sum(each).over().label(f"all_{name}") for name, each in sums.items()),
            func.count().over().label("tenants"),
        )
        .group_by(some.tenant, some.mode)
        .order_by(sums["attempts"].desc(), some.tenant, some.mode)
        .limit(busiest)
    )
    rows = (await connection.execute(query)).all()
    return Traffic(
        since_ms=since_ms,
        is_complete=first_left_out is None,
        tenants=rows[0].tenants if rows else 0,
        busiest=[TenantTraffic(tenant=row.tenant, mode=row.mode, **_counts(row)) for row in rows],
        **(_counts(rows[0], "all_") if rows else {}),
    )


def _counts(row: Any, prefix: str = "") -> dict[str, int]:
    return {name: int(row._mapping[prefix + name]) for name in _SUMS}


def without_success(since_ms: int, limit: int) -> Any:
    """The query of `ReadStore.without_success`."""
    some = (
        select(_h.tenant, _h.mode, _h.endpoint_id, _h.attempts, _h.failed_attempts)
        .where(_h.begins_ms >= since_ms, _h.endpoint_id != "")
        .order_by(_h.begins_ms.desc())
        .limit(MAX_ROWS)
        .subquery()
        .c
    )
    attempts = func.sum(some.attempts)
    names = (some.tenant, some.mode, some.endpoint_id)
    return (
        select(*names, cast(attempts, BigInteger).label("attempts"))
        .group_by(*names)
        .having(attempts > 0, attempts == func.sum(some.failed_attempts))
        .order_by(attempts.desc(), *names)
        .limit(limit)
    )


def last_failures(endpoints: Collection[tuple[str, Mode, str]], *, is_sqlite: bool) -> Any:
    """A query for the newest delivery of each endpoint in each state that means a failure."""
    asked, names = _listed(sorted(endpoints), is_sqlite=is_sqlite)
    return union_all(*(_newest(asked, names, state) for state in ("retrying", "dead")))


def _newest(asked: FromClause, names: list[ColumnElement[str]], state: str) -> Any:
    """One step in an index for each endpoint."""
    of = deliveries.alias()
    columns = zip((of.c.tenant, of.c.mode, of.c.endpoint_id), names, strict=True)
    newest = (
        select(of.c.id)
        .where(*(column == name for column, name in columns), of.c.state == state)
        .order_by(of.c.created_at_ms.desc(), of.c.id.desc())
        .limit(1)
        .correlate(asked)
        .scalar_subquery()
    )
    return select(deliveries).select_from(asked).join(deliveries, deliveries.c.id == newest)


def _listed(endpoints: list[tuple[str, Mode, str]], *, is_sqlite: bool) -> tuple[FromClause, list[ColumnElement[str]]]:
    """Tenants, modes and ids as a table, in a fixed number of parameters."""
    if is_sqlite:
        every = bindparam(None, msgspec.json.encode(endpoints).decode(), String)
        table = func.json_each(every).table_valued("value")
        return table, [func.json_extract(table.c.value, f"$[{index}]") for index in range(3)]
    arrays = (bindparam(None, [each[index] for each in endpoints], ARRAY(Text())) for index in range(3))
    unnested = func.unnest(*arrays).table_valued("tenant", "mode", "endpoint_id").render_derived()
    return unnested, list(unnested.c)


def latest(rows: Iterable[Row[Any]]) -> dict[str, LastFailure]:
    """Endpoint id → its last failure."""
    newest: dict[str, Row[Any]] = {}
    for row in rows:
        there = newest.get(row.endpoint_id)
        if there is None or row.created_at_ms > there.created_at_ms:
            newest[row.endpoint_id] = row
    return {
        endpoint_id: LastFailure(
            delivery_id=row.id, at_ms=row.updated_at_ms, status=row.status, result=row.result, reason=row.reason
        )
        for endpoint_id, row in newest.items()
    }
