"""Pages of deliveries, newest first, whose cost does not grow with what is stored.

A page is read along index spans (`paths.py`), from where the last one ended. Where rows have to be looked at one by
one, that is done in stretches of a fixed length, and only so many of them: then the page ends short, with a cursor.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from app.adapters.sql.index_paths import Condition, IndexPath, ways
from app.adapters.sql.tables import deliveries
from app.core.readmodel.rows import DeliveryFilter

_d = deliveries.c
#: rows of a stretch, and stretches of a page
STRETCH = 5_000
STRETCHES = 10


class PageKey(NamedTuple):
    """Where a row is in the order of pages."""

    created_at_ms: int
    id: str


class _Found(NamedTuple):
    rows: list[Row[Any]]
    #: what is older has not been looked at; None: there is nothing older
    until: PageKey | None


async def page(
    connection: AsyncConnection, which: DeliveryFilter, *, limit: int, cursor: str | None
) -> tuple[list[Row[Any]], str | None]:
    """The rows of a page, and the cursor of the next one. `ValueError`: the cursor is none of ours."""
    after = _opened(cursor) if cursor else None
    found = [await _along(connection, way, limit, after) for way in ways(which)]
    unseen = max((each.until for each in found if each.until is not None), default=None)
    rows = {key_of(row): row for each in found for row in each.rows}
    keys = sorted((key for key in rows if unseen is None or key >= unseen), reverse=True)
    end = keys[limit - 1] if len(keys) > limit else unseen
    return [rows[key] for key in keys[:limit]], _sealed(end) if end is not None else None


async def count(connection: AsyncConnection, which: DeliveryFilter, *, at_most: int) -> int:
    """How many rows there are, up to `at_most`, among the newest of each span."""
    total = 0
    for way in ways(which):
        inner = _stretch(way, None, STRETCH * STRETCHES if way.rest else at_most)
        some = select(inner.c.id).where(*_of(inner, way.rest)).limit(at_most)
        total += int(await connection.scalar(select(func.count()).select_from(some.subquery())) or 0)
    return min(total, at_most)


def key_of(row: Row[Any]) -> PageKey:
    """Its place in the order of pages."""
    return PageKey(row.created_at_ms, row.id)


async def _along(connection: AsyncConnection, way: IndexPath, limit: int, after: PageKey | None) -> _Found:
    """One row more than `limit` where there are as many."""
    rows: list[Row[Any]] = []
    if not way.rest:
        rows = list(await connection.execute(select(_stretch(way, after, limit + 1))))
        return _Found(rows, key_of(rows[-1]) if len(rows) > limit else None)
    for _ in range(STRETCHES):
        inner = _stretch(way, after, STRETCH)
        rows += await connection.execute(select(inner).where(*_of(inner, way.rest)).limit(limit + 1 - len(rows)))
        if len(rows) > limit:
            return _Found(rows, key_of(rows[-1]))
        end = (await connection.execute(_end_of(way, after))).first()
        if end is None:
            return _Found(rows, None)
        after = PageKey(*end)
    return _Found(rows, after)


def _of(inner: Any, conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions, of the stretch's columns."""
    return [ClauseAdapter(inner).traverse(condition) for condition in conditions]


def _stretch(way: IndexPath, after: PageKey | None, rows: int) -> Any:
    return _ordered(select(deliveries), way, after).limit(rows).subquery()


def _end_of(way: IndexPath, after: PageKey | None) -> Any:
    """The last key of a stretch that has a next one."""
    return _ordered(select(_d.created_at_ms, _d.id), way, after).offset(STRETCH - 1).limit(1)


def _ordered(query: Any, way: IndexPath, after: PageKey | None) -> Any:
    if after is not None:
        query = query.where(tuple_(_d.created_at_ms, _d.id) < tuple_(*after))
    return query.where(*way.span).order_by(_d.created_at_ms.desc(), _d.id.desc())


def _sealed(key: PageKey) -> str:
    return base64.urlsafe_b64encode(f"{key.created_at_ms}:{key.id}".encode()).decode().rstrip("=")


def _opened(cursor: str) -> PageKey:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created, colon, id = text.partition(":")
        if not (colon and id and created.isascii() and created.isdigit() and len(created) < 17):
            raise ValueError(text)
    except (ValueError, binascii.Error) as error:
        raise ValueError("the cursor is none of ours") from error
    return PageKey(int(created), id)
