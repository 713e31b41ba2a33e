"""Write the read model: rows and offsets in one transaction.

Two processes never write rows of one delivery at the same time. All topics have a delivery in the same partition
number, and a transaction begins by locking the offsets of that number for all topics. A process that has lost its
partitions without noticing finds other offsets than it has read from, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Double,
    Integer,
    Table,
    Text,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql import tables, tenant_rows
from app.adapters.sql.database import Database
from app.adapters.sql.migrate import upgrade
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import AuditLine, End, ProjectionBatch
from app.core.readmodel.hourly_stats import HourlyStats
from app.core.readmodel.snapshot import DeliverySnapshot
from app.ports.readmodel import OffsetAdvance

#: ids of one query. Each number of ids is a statement of its own, so the last query is padded
_IDS = 500
_STANDING = [column.name for column in tables.deliveries.c]


class SqlProjectionStore:
    """`app.ports.readmodel.ProjectionStore` on SQLAlchemy Core."""

    def __init__(self, database: Database) -> None:
        self._database = database
        put = _Put.sqlite if database.is_sqlite else _Put.postgresql
        self._put_deliveries = put(
            tables.deliveries,
            lambda new: {name: new[name] for name in _STANDING if name not in ("id", "tenant", "mode")},
        )
        self._put_attempts = put(tables.attempts)
        self._put_unsent = put(tables.unsent_ends)
        self._put_notices = put(tables.notices)
        self._put_audit = put(tables.audit)
        self._put_events = put(tables.events, _merged_event)
        self._put_offsets = put(tables.offsets)
        self._add_hours = put(
            tables.hours, lambda new: {name: tables.hours.c[name] + new[name] for name in tables.COUNT_COLUMNS}
        )

    async def prepare(self) -> None:
        """See `app.ports.readmodel.ProjectionStore`."""
        await upgrade(self._database)

    async def offsets(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            rows = [
                {"topic": topic, "partition": number, "next_offset": 0, "newest_ms": 0}
                for topic, number in sorted(places)
            ]
            await self._put_offsets(connection, rows)
            stored = await connection.execute(
                select(tables.offsets.c.topic, tables.offsets.c.partition, tables.offsets.c.next_offset)
            )
            offsets = {(topic, number): offset for topic, number, offset in stored}
        return {place: offsets[place] for place in places}

    async def write(self, portion: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]) -> bool:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            if not await _holds(connection, moved):
                return False
            current = await _standings(connection, {fact.id for fact in portion.facts})
            changed, tally = portion.settle(current)
            if changed:
                changed.sort(key=lambda standing: standing.id)
                await self._put_deliveries(connection, [_row(standing) for standing in changed])
            if portion.lines:
                await self._put_attempts(connection, [_line(line) for line in portion.lines])
            if unsent := [_unsent(end) for end in portion.ends if not end.requested]:
                await self._put_unsent(connection, unsent)
            if portion.notices:
                await self._put_notices(connection, _notices(portion))
            if events := portion.events:
                await self._put_events(connection, [msgspec.structs.asdict(each) for each in events])
            if portion.audit:
                await self._put_audit(connection, [_audited(line) for line in portion.audit])
            if counted := _counted(tally):
                await self._add_hours(connection, counted)
            await connection.execute(_MOVE, [_move(place, to) for place, to in sorted(moved.items())])
        return True

    async def prune(self, before_ms: int, *, audit_before_ms: int, limit: int) -> int:
        """See `app.ports.readmodel.ProjectionStore`."""
        old = select(tables.deliveries.c.id).where(tables.deliveries.c.updated_at_ms < before_ms)
        async with self._database.writing() as connection:
            if not await _prune_events(connection, before_ms, limit):
                return limit  # an event must not outlive its deliveries: it would seem to have had none
            ids = list((await connection.scalars(old.order_by(tables.deliveries.c.updated_at_ms).limit(limit))).all())
            for some in _chunks(ids):
                await connection.execute(delete(tables.attempts).where(tables.attempts.c.delivery_id.in_(some)))
                await connection.execute(
                    delete(tables.deliveries).where(
                        tables.deliveries.c.id.in_(some), tables.deliveries.c.updated_at_ms < before_ms
                    )
                )
            await connection.execute(delete(tables.hours).where(tables.hours.c.begins_ms < before_ms))
            await connection.execute(delete(tables.unsent_ends).where(tables.unsent_ends.c.at_ms < before_ms))
            await connection.execute(delete(tables.notices).where(tables.notices.c.at_ms < before_ms))
            await connection.execute(delete(tables.audit).where(tables.audit.c.at_ms < audit_before_ms))
        return len(ids)

    async def deleted_tenants(self) -> Sequence[tuple[str, int]]:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            return await tenant_rows.deleted_tenants(connection)

    async def remove_tenant(self, tenant: str, until_ms: int, *, limit: int) -> int:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            return await tenant_rows.remove_some(connection, tenant, until_ms, limit)

    async def remove_old(self, tenant: str, before_ms: int, *, limit: int) -> int:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            return await tenant_rows.remove_old(connection, tenant, before_ms, limit)

    async def clear(self) -> None:
        """See `app.ports.readmodel.ProjectionStore`."""
        async with self._database.writing() as connection:
            for table in tables.ALL:
                if self._database.is_sqlite:
                    await connection.execute(delete(table))  # without a condition, SQLite truncates
                else:
                    await connection.execute(text(f"TRUNCATE {table.name}"))

    async def close(self) -> None:
        """See `app.ports.readmodel.ProjectionStore`."""
        await self._database.close()


async def _prune_events(connection: AsyncConnection, before_ms: int, limit: int) -> bool:
    """Remove about `limit` rows of the index of events; False: there may be more."""
    columns = tables.events.c
    old = select(columns.at_ms).where(columns.at_ms < before_ms).order_by(columns.at_ms)
    until_ms = await connection.scalar(old.offset(limit - 1).limit(1))
    past = columns.at_ms < before_ms if until_ms is None else columns.at_ms <= until_ms
    await connection.execute(delete(tables.events).where(past))
    return until_ms is None


class _Put:
    """Inserts rows; existing ones stay as they are, or are changed by `change`."""

    def __init__(self, statement: Any, columns: Sequence[str]) -> None:
        #: text takes rows as tuples of the columns; a statement takes each column as one array
        self._statement = statement
        self._columns = columns

    @classmethod
    def sqlite(cls, table: Table, change: _Change | None = None) -> _Put:
        """A statement that the driver executes for many rows together.

        It is compiled here, once: SQLAlchemy would compile the parameters per row, for a fifth of the cost of a
        delivery.
        """
        insert = _conflict(sqlite.insert(table), table, change)
        names = [column.name for column in table.c]
        compiled = insert.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=names)
        assert compiled.positiontup == names
        return cls(str(compiled), names)

    @classmethod
    def postgresql(cls, table: Table, change: _Change | None = None) -> _Put:
        """One statement for all rows, which takes half the time of one for each."""
        names = [column.name for column in table.c]
        arrays = [
            func.unnest(bindparam(f"all_{column.name}", type_=postgresql.ARRAY(_PLAIN[type(column.type)])))
            for column in table.c
        ]
        insert = postgresql.insert(table).from_select(names, select(*arrays))
        return cls(_conflict(insert, table, change), names)

    async def __call__(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        if isinstance(self._statement, str):
            await connection.exec_driver_sql(
                self._statement, [tuple([row[name] for name in self._columns]) for row in rows]
            )
        else:
            await connection.execute(
                self._statement, {f"all_{name}": [row[name] for row in rows] for name in self._columns}
            )


_Change = Callable[[Any], dict[str, Any]]
_PLAIN: dict[type[Any], Any] = {Text: Text(), BigInteger: BigInteger(), Integer: Integer(), Double: Double()}


def _merged_event(new: Any) -> dict[str, Any]:
    """How a row of the index of events changes: the rule of `event_index.merged`, in SQL."""
    there = tables.events.c
    return {
        column.name: case(
            (new.at_ms < there.at_ms, column),
            (new.at_ms > there.at_ms, new[column.name]),
            (new[column.name] == literal_column("''"), column)
            if not column.nullable
            else (new[column.name].is_(None), column),
            else_=new[column.name],
        )
        for column in there
        if not column.primary_key and column.name != "at_ms"
    } | {"at_ms": case((new.at_ms > there.at_ms, new.at_ms), else_=there.at_ms)}


def _conflict(insert: Any, table: Table, change: _Change | None) -> Any:
    if change is None:
        return insert.on_conflict_do_nothing()
    keys = [column.name for column in table.primary_key]
    return insert.on_conflict_do_update(index_elements=keys, set_=change(insert.excluded))


async def _holds(connection: AsyncConnection, moved: Mapping[PartitionId, OffsetAdvance]) -> bool:
    """Lock the partitions; returns whether their offsets are those that the batch was read from."""
    columns = tables.offsets.c
    numbers = sorted({number for _, number in moved})
    stored = await connection.execute(
        select(columns.topic, columns.partition, columns.next_offset)
        .where(columns.partition.in_(numbers))
        .order_by(columns.partition, columns.topic)
        .with_for_update()
    )
    current = {(topic, number): offset for topic, number, offset in stored}
    return all(current.get(place) == to.begin for place, to in moved.items())


async def _standings(connection: AsyncConnection, ids: set[str]) -> dict[str, DeliverySnapshot]:
    snapshots = {}
    for some in _chunks(sorted(ids)):
        for row in await connection.execute(_BY_ID, {"ids": some}):
            standing = DeliverySnapshot(**row._mapping)
            snapshots[standing.id] = standing
    return snapshots


_BY_ID = select(tables.deliveries).where(tables.deliveries.c.id.in_(bindparam("ids", expanding=True)))
#: transaction markers have no timestamp
_NEWEST = case(
    (tables.offsets.c.newest_ms > bindparam("newest"), tables.offsets.c.newest_ms), else_=bindparam("newest")
)
_MOVE = (
    update(tables.offsets)
    .where(tables.offsets.c.topic == bindparam("its_topic"), tables.offsets.c.partition == bindparam("its_number"))
    .values(next_offset=bindparam("to"), newest_ms=_NEWEST)
)


def _move(place: PartitionId, to: OffsetAdvance) -> dict[str, Any]:
    return {"its_topic": place[0], "its_number": place[1], "to": to.next, "newest": to.newest_ms}


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ids), _IDS):
        some = list(ids[begin : begin + _IDS])
        yield some + some[-1:] * (_IDS - len(some) if len(some) > 20 else 20 - len(some))


def _row(standing: DeliverySnapshot) -> dict[str, Any]:
    return {name: getattr(standing, name) for name in _STANDING}


_encode = msgspec.json.Encoder().encode


def _line(line: msgspec.Struct) -> dict[str, Any]:
    row = msgspec.structs.asdict(line)
    headers = row["response_headers"]
    row["response_headers"] = _encode(headers).decode() if headers else None
    return row


def _audited(line: AuditLine) -> dict[str, Any]:
    entry = line.entry
    before, after = (None if fields is None else _encode(fields).decode() for fields in (entry.before, entry.after))
    return {
        "partition": line.partition,
        "offset": line.offset,
        "tenant": entry.tenant,
        "mode": entry.mode,
        "at_ms": line.at_ms,
        "actor": entry.actor,
        "action": entry.action,
        "entity": entry.entity,
        "version": entry.version,
        "detail": entry.detail,
        "before": before,
        "after": after,
    }


def _unsent(end: End) -> dict[str, Any]:
    fact = end.fact
    return {
        "partition": end.part,
        "offset": end.offset,
        "delivery_id": fact.id,
        "tenant": fact.tenant,
        "mode": fact.mode,
        "endpoint_id": fact.endpoint_id,
        "state": fact.state,
        "at_ms": fact.at_ms,
    }


def _notices(portion: ProjectionBatch) -> list[dict[str, Any]]:
    return [
        {
            "tenant": notice.tenant,
            "id": notice.id,
            "mode": notice.mode,
            "kind": notice.kind,
            "at_ms": at_ms,
            "endpoint_id": notice.endpoint_id,
            "summary": notice.summary,
            "data": _encode(notice.data).decode(),
        }
        for notice, at_ms in portion.notices
    ]


def _counted(tally: HourlyStats) -> list[dict[str, Any]]:
    return [
        {
            **where._asdict(),
            **{name: getattr(counts, name) for name in tables.COUNT_COLUMNS[:5]},
            **dict(zip(tables.DURATION_COLUMNS, counts.durations, strict=True)),
        }
        for where, counts in tally
    ]
