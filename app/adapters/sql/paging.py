"""Pages of a list, newest first, whose cost does not grow with the number of stored rows.

A page is read along index spans (`index_paths.py`), from where the previous page ended. Rows that must be compared one
by one are read in chunks of a fixed size, and only a fixed number of chunks: then the page is short, and has a cursor.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Row, Table, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from app.adapters.sql.index_paths import IndexPath

#: rows of a chunk, and chunks of a page
CHUNK = 5_000
CHUNKS = 10

#: the position of a row in the order of pages: the values of its listing's key
PageKey = tuple[Any, ...]


class Listing(NamedTuple):
    """A table that is read in pages."""

    table: Table
    #: columns that identify a row, in the order of pages, descending; all but the last are numbers
    key: tuple[Column[Any], ...]
    #: whether the last column is a text
    ends_in_text: bool = False
    #: computed columns, expressed over those of the table
    computed: tuple[ColumnElement[Any], ...] = ()

    def key_of(self, row: Row[Any]) -> PageKey:
        """The row's position in the order of pages."""
        return tuple(row._mapping[column.name] for column in self.key)

    def cursor(self, key: PageKey) -> str:
        """An opaque text for a key."""
        return base64.urlsafe_b64encode(":".join(map(str, key)).encode()).decode().rstrip("=")

    def read_cursor(self, cursor: str) -> PageKey:
        """The key of a cursor. Raises `ValueError` when `cursor` has not created it."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            parts = text.split(":", len(self.key) - 1)
            numbers = parts[:-1] if self.ends_in_text else parts
            if len(parts) != len(self.key) or not all(parts) or not all(map(_is_number, numbers)):
                raise ValueError(text)
        except (ValueError, binascii.Error) as error:
            raise ValueError("the cursor is not one that a list has returned") from error
        return (*map(int, numbers), *parts[len(numbers) :])


class _Rows(NamedTuple):
    rows: list[Row[Any]]
    #: older rows than this have not been read; None: there are none
    until: PageKey | None


async def page(
    connection: AsyncConnection, listing: Listing, ways: Sequence[IndexPath], *, limit: int, cursor: str | None
) -> tuple[list[Row[Any]], str | None]:
    """The rows of a page, and the cursor of the next one. `ways` together have all rows; a row may be in two of them.

    Raises `ValueError` when the cursor is not one that a list has returned.
    """
    after = listing.read_cursor(cursor) if cursor else None
    read = [await _along(connection, listing, way, limit, after) for way in ways]
    unseen = max((each.until for each in read if each.until is not None), default=None)
    rows = {listing.key_of(row): row for each in read for row in each.rows}
    keys = sorted((key for key in rows if unseen is None or key >= unseen), reverse=True)
    end = keys[limit - 1] if len(keys) > limit else unseen
    return [rows[key] for key in keys[:limit]], listing.cursor(end) if end is not None else None


async def count(connection: AsyncConnection, listing: Listing, ways: Sequence[IndexPath], *, at_most: int) -> int:
    """The number of rows, up to `at_most`, among the newest of each span."""
    total = 0
    for way in ways:
        inner = _chunk(listing, way, None, CHUNK * CHUNKS if way.rest else at_most)
        some = select(literal(1)).select_from(inner).where(*_of(inner, way.rest)).limit(at_most)
        total += int(await connection.scalar(select(func.count()).select_from(some.subquery())) or 0)
    return min(total, at_most)


async def _along(
    connection: AsyncConnection, listing: Listing, way: IndexPath, limit: int, after: PageKey | None
) -> _Rows:
    """The rows of one path: one more than `limit`, if there are as many."""
    rows: list[Row[Any]] = []
    if not way.rest:
        rows = list(await connection.execute(_rows(listing, _chunk(listing, way, after, limit + 1))))
        return _Rows(rows, listing.key_of(rows[-1]) if len(rows) > limit else None)
    for _ in range(CHUNKS):
        inner = _chunk(listing, way, after, CHUNK)
        matching = _rows(listing, inner).where(*_of(inner, way.rest)).limit(limit + 1 - len(rows))
        rows += await connection.execute(matching)
        if len(rows) > limit:
            return _Rows(rows, listing.key_of(rows[-1]))
        end = (await connection.execute(_end_of(listing, way, after))).first()
        if end is None:
            return _Rows(rows, None)
        after = tuple(end)
    return _Rows(rows, after)


def _rows(listing: Listing, inner: Any) -> Any:
    """All columns of a chunk, and the computed ones."""
    return select(inner, *_of(inner, listing.computed))


def _of(inner: Any, expressions: Sequence[Any]) -> list[Any]:
    """The expressions over the chunk's columns."""
    return [ClauseAdapter(inner).traverse(expression) for expression in expressions]


def _chunk(listing: Listing, way: IndexPath, after: PageKey | None, rows: int) -> Any:
    return _ordered(select(listing.table), listing, way, after).limit(rows).subquery()


def _end_of(listing: Listing, way: IndexPath, after: PageKey | None) -> Any:
    """The last key of a chunk that is followed by another one."""
    return _ordered(select(*listing.key), listing, way, after).offset(CHUNK - 1).limit(1)


def _ordered(query: Any, listing: Listing, way: IndexPath, after: PageKey | None) -> Any:
    if after is not None:
        query = query.where(tuple_(*listing.key) < tuple_(*after))
    return query.where(*way.span).order_by(*(column.desc() for column in listing.key))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 17
