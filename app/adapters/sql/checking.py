"""Check the hourly statistics: count them again from the rows of attempts, and compare.

An attempt's row exists as long as its delivery, and at least as long as the hour in which it was counted, so every hour
can be counted again exactly. Everything is read in one snapshot, so the projection continues meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Table, and_, delete, exists, func, insert, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql import tables
from app.adapters.sql.database import Database
from app.core.readmodel.hourly_stats import HOUR_MS, HourCounts, HourlyStats, StatsKey

_a, _d, _h, _u = tables.attempts.c, tables.deliveries.c, tables.hours.c, tables.unsent_ends.c
_PAGE = 5_000
#: differences that are reported in full
_SHOWN = 100


class Difference(NamedTuple):
    """An hour whose stored counts differ from those of its rows; a missing hour counts as 0."""

    where: StatsKey
    counted: dict[str, int]
    rows: dict[str, int]


class ReadModelCheck(NamedTuple):
    """The result of a check."""

    #: hours before that time were not compared; in milliseconds since the epoch
    from_ms: int
    #: rows that were counted again, and hours that were compared
    rows: int
    hours: int
    #: hours that differ, and the first of them
    different: int
    differences: list[Difference]
    repaired: bool


async def check_counts(
    database: Database, *, not_before_ms: int, repair: bool, on_progress: Callable[[int, int], None]
) -> ReadModelCheck:
    """Compare all hours that begin at `not_before_ms` or later; with `repair`, correct them.

    `on_progress` gets the number of rows that are counted, and of all. With `repair` the projection waits until the
    end. Raises `Unavailable`.
    """
    opened: AbstractAsyncContextManager[AsyncConnection] = database.writing() if repair else database.snapshot()
    async with opened as connection:
        if repair:
            await connection.execute(select(tables.offsets).with_for_update())
        from_ms = await _from_ms(connection, not_before_ms)
        tally, rows = await _counted_again(connection, from_ms, on_progress)
        expected = {where: _columns(counts) for where, counts in tally}
        hours, different = await _compare(connection, from_ms, expected)
        if repair:
            await _correct(connection, different)
    shown = sorted(different)[:_SHOWN]
    return ReadModelCheck(from_ms, rows, hours, len(different), shown, repaired=repair and bool(different))


async def _from_ms(connection: AsyncConnection, not_before_ms: int) -> int:
    """The first complete hour: older ones were pruned, or counted by an older version."""
    exact_ms = await connection.scalar(select(func.max(tables.counting.c.exact_from_ms))) or 0
    oldest_ms = await connection.scalar(select(func.min(_h.begins_ms))) or 0
    whole_ms = -(-not_before_ms // HOUR_MS) * HOUR_MS
    return int(max(exact_ms, oldest_ms, whole_ms))


async def _counted_again(
    connection: AsyncConnection, from_ms: int, on_progress: Callable[[int, int], None]
) -> tuple[HourlyStats, int]:
    tally, done, total = HourlyStats(), 0, 0
    for table in (tables.attempts, tables.unsent_ends):
        total += await connection.scalar(select(func.count()).select_from(table).where(table.c.at_ms >= from_ms)) or 0
    async for rows in _pages(connection, tables.attempts, _attempts(from_ms)):
        for row in rows:
            _count_attempt(tally, row)
        done += len(rows)
        on_progress(done, total)
    async for rows in _pages(connection, tables.unsent_ends, _unsent(from_ms)):
        for row in rows:
            _count_end(tally, row)
        done += len(rows)
        on_progress(done, total)
    return tally, done


def _count_attempt(tally: HourlyStats, row: Row[Any]) -> None:
    if row.trigger == "test":
        return
    tally.attempt(
        row.tenant,
        row.mode,
        row.endpoint_id,
        row.at_ms,
        row.partition,
        ok=row.state == "delivered",
        duration_ms=row.duration_ms,
    )
    _count_end(tally, row)


def _count_end(tally: HourlyStats, row: Row[Any]) -> None:
    if row.state in ("delivered", "dead", "cancelled") and not row.delivered_before:
        tally.end(row.tenant, row.mode, row.endpoint_id, row.at_ms, row.partition, row.state)


def _attempts(from_ms: int) -> Select[Any]:
    return (
        select(
            _a.partition,
            _a.offset,
            _a.at_ms,
            _a.state,
            _a.trigger,
            _a.duration_ms,
            _d.tenant,
            _d.mode,
            _d.endpoint_id,
            _delivered_before(tables.attempts),
        )
        .join(tables.deliveries, _d.id == _a.delivery_id)
        .where(_a.at_ms >= from_ms)
    )


def _unsent(from_ms: int) -> Select[Any]:
    return select(tables.unsent_ends, _delivered_before(tables.unsent_ends)).where(_u.at_ms >= from_ms)


def _delivered_before(table: Table) -> ColumnElement[bool]:
    """Whether a row is a second success of its delivery; all records of a delivery are in one partition."""
    mine = table.c
    earlier = []
    for other in (tables.attempts.alias("earlier_attempts"), tables.unsent_ends.alias("earlier_ends")):
        its = other.c
        earlier.append(
            exists().where(
                its.delivery_id == mine.delivery_id,
                its.state == "delivered",
                # "+ 0" makes SQLite use the index by delivery instead of the primary key
                its.partition + 0 == mine.partition,
                its.offset + 0 < mine.offset,
            )
        )
    return and_(mine.state == "delivered", or_(*earlier)).label("delivered_before")


async def _pages(connection: AsyncConnection, table: Table, query: Select[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
    """All rows, in the order of the primary key."""
    key = list(table.primary_key)
    after: tuple[Any, ...] | None = None
    while True:
        page = query if after is None else query.where(tuple_(*key) > tuple_(*after))
        rows = (await connection.execute(page.order_by(*key).limit(_PAGE))).all()
        if not rows:
            return
        yield rows
        after = tuple(rows[-1]._mapping[column.name] for column in key)


async def _compare(
    connection: AsyncConnection, from_ms: int, expected: dict[StatsKey, dict[str, int]]
) -> tuple[int, list[Difference]]:
    """The number of hours, stored or expected, and those that differ."""
    hours, different = 0, []
    async for rows in _pages(connection, tables.hours, select(tables.hours).where(_h.begins_ms >= from_ms)):
        for row in rows:
            where = StatsKey(row.tenant, row.mode, row.endpoint_id, row.begins_ms, row.part)
            stored = {name: int(row._mapping[name]) for name in tables.COUNT_COLUMNS}
            counted = expected.pop(where, _NONE)
            if stored != counted:
                different.append(Difference(where, stored, counted))
        hours += len(rows)
    different += [Difference(where, _NONE, counted) for where, counted in expected.items()]
    return hours + len(expected), different


async def _correct(connection: AsyncConnection, differences: Sequence[Difference]) -> None:
    for where, _, rows in differences:
        there = [tables.hours.c[name] == value for name, value in where._asdict().items()]
        await connection.execute(delete(tables.hours).where(*there))
        if rows != _NONE:
            await connection.execute(insert(tables.hours).values(**where._asdict(), **rows))


_NONE = dict.fromkeys(tables.COUNT_COLUMNS, 0)


def _columns(counts: HourCounts) -> dict[str, int]:
    numbers = {name: getattr(counts, name) for name in tables.COUNT_COLUMNS[:5]}
    return numbers | dict(zip(tables.DURATION_COLUMNS, counts.durations, strict=True))
