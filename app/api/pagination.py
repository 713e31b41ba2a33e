"""Keyset pagination: a page begins after the key in the cursor, so that changes of the list skip no entry."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from app.api.contract.fields import PageOut
from app.api.problems import ApiError
from app.api.request import ApiRequest

T = TypeVar("T")


def page(call: ApiRequest, entries: Sequence[T], key: Callable[[T], str], show: Callable[[T], Any]) -> PageOut:
    """The page of `entries` (ascending by `key`) that the call asks for."""
    limit, begin_after = call.limit(), after(call.query.get("cursor"))
    begin = bisect_right(entries, begin_after, key=key) if begin_after is not None else 0
    chosen = entries[begin : begin + limit]
    more = begin + limit < len(entries)
    return PageOut(data=[show(entry) for entry in chosen], next_cursor=cursor(key(chosen[-1])) if more else None)


def cursor(key: str) -> str:
    """The key of the last entry of a page, as an opaque text."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def after(cursor: str | None) -> str | None:
    """The key that a cursor names; None: the first page."""
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise ApiError(400, "invalid_query", "cursor: use the value of next_cursor unchanged") from error
