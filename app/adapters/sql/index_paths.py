"""Which index answers a filter, and what is left to look at row by row.

Each way begins with tenant and mode, goes on with what a filter fixes, and ends in (created_at_ms, id): the order of
pages. What no index of the way holds is looked at in rows of a bounded span (`paging.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, TextClause, and_

from app.adapters.sql.tables import FAILED, deliveries
from app.core.readmodel.rows import DeliveryFilter

_d = deliveries.c

Condition = ColumnElement[bool] | TextClause


class IndexPath(NamedTuple):
    """One index span, and what its rows must satisfy besides."""

    span: tuple[Condition, ...]
    rest: tuple[Condition, ...]


def ways(which: DeliveryFilter) -> list[IndexPath]:
    """Where the rows of a filter are: together these have all of them; a row may be in two."""
    base = (_d.tenant == which.tenant, _d.mode == which.mode, *_times(which))
    if which.any_id is not None:
        # either is found at once, and has few rows
        return [
            IndexPath((*base, _d.event_id == which.any_id), _all(which)),
            IndexPath((*base, _d.id == which.any_id), _all(which)),
        ]
    keys = _keys(which)
    used: frozenset[str] = frozenset()
    spans: list[tuple[Condition, ...]] = [()]
    for fields in _PREFERRED:
        if fields <= keys:
            used = fields
            spans = _spans(which, fields)
            break
    rest = _all(which, used)
    return [IndexPath((*base, *span), rest) for span in spans]


#: the narrowest first
_PREFERRED: tuple[frozenset[str], ...] = (
    frozenset(("event_id",)),
    frozenset(("replay_id",)),
    frozenset(("endpoint_id", "states")),
    frozenset(("result",)),
    frozenset(("endpoint_id",)),
    frozenset(("states",)),
    frozenset(("event_type",)),
)


def _keys(which: DeliveryFilter) -> frozenset[str]:
    """The fields that an index can be entered with."""
    given = {name for name in ("event_id", "replay_id", "endpoint_id", "states") if getattr(which, name)}
    if which.event_type and not which.event_type.endswith("*"):
        given.add("event_type")
    if _results(which):
        given.add("result")
    return frozenset(given)


def _results(which: DeliveryFilter) -> tuple[str, ...]:
    """The outcomes that are asked for, where an index has them: failures alone."""
    if which.result is not None:
        return (which.result,) if which.result != "ok" else ()
    if which.status is None:
        return ()
    first, last = which.status
    if first // 100 != last // 100 or not 300 <= first <= 599:
        return ()
    too_many = ("http_429",) if first <= 429 <= last else ()
    return (f"http_{first // 100}xx", *too_many)


def _spans(which: DeliveryFilter, fields: frozenset[str]) -> list[tuple[Condition, ...]]:
    shared: tuple[Condition, ...] = tuple(
        _d[name] == getattr(which, name)
        for name in ("event_id", "replay_id", "endpoint_id", "event_type")
        if name in fields
    )
    if "states" in fields:
        return [(*shared, _d.state == state) for state in dict.fromkeys(which.states)]
    if "result" in fields:
        return [(*shared, _d.result == result, FAILED) for result in _results(which)]
    return [shared]


def _all(which: DeliveryFilter, used: frozenset[str] = frozenset()) -> tuple[Condition, ...]:
    """Everything that is asked for but tenant, mode, times and `used`."""
    said: list[Condition] = [
        _d[name] == getattr(which, name)
        for name in ("event_id", "replay_id", "endpoint_id", "result", "reason")
        if getattr(which, name) and name not in used
    ]
    if which.states and "states" not in used:
        said.append(_d.state.in_(which.states))
    if which.event_type and "event_type" not in used:
        said.append(type_condition(_d.event_type, which.event_type))
    if which.status is not None:
        said.append(_d.status.between(*which.status))
    if which.changed_since_ms is not None:
        said.append(_d.updated_at_ms >= which.changed_since_ms)
    return tuple(said)


def type_condition(column: ColumnElement[str], pattern: str) -> Condition:
    """Whether a column has the type, or a type with the prefix such as `recording.*`."""
    if not pattern.endswith("*"):
        return column == pattern
    prefix = pattern[:-1]
    return and_(column >= prefix, column < prefix + "\U0010ffff")


def _times(which: DeliveryFilter) -> tuple[Condition, ...]:
    said = []
    if which.since_ms is not None:
        said.append(_d.created_at_ms >= which.since_ms)
    if which.until_ms is not None:
        said.append(_d.created_at_ms < which.until_ms)
    return tuple(said)
