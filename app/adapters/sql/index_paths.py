"""Which indexes answer a filter, and which conditions remain to be compared row by row.

Every path begins with tenant and mode, continues with fields of the filter, and ends in (created_at_ms, id), the order
of pages. Conditions that are not in the index are compared in rows of a bounded span (`paging.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, TextClause, and_

from app.adapters.sql.tables import FAILED, deliveries
from app.core.readmodel.rows import DeliveryFilter

_d = deliveries.c

Condition = ColumnElement[bool] | TextClause


class IndexPath(NamedTuple):
    """One index span, and the remaining conditions for its rows."""

    span: tuple[Condition, ...]
    rest: tuple[Condition, ...]


def ways(which: DeliveryFilter) -> list[IndexPath]:
    """The paths that together have all rows of a filter; a row may be on two of them."""
    base = (_d.tenant == which.tenant, _d.mode == which.mode, *_times(which))
    if which.any_id is not None:
        # both indexes are selective
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


#: sets of fields that an index begins with, the most selective first
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
    """The fields of the filter that an index begins with."""
    fields = {name for name in ("event_id", "replay_id", "endpoint_id", "states") if getattr(which, name)}
    if which.event_type and not which.event_type.endswith("*"):
        fields.add("event_type")
    if _results(which):
        fields.add("result")
    return frozenset(fields)


def _results(which: DeliveryFilter) -> tuple[str, ...]:
    """The failed results that the filter selects; empty if it also selects others, which no index has."""
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
    """All conditions of the filter but tenant, mode, times and the fields in `used`."""
    conditions: list[Condition] = [
        _d[name] == getattr(which, name)
        for name in ("event_id", "replay_id", "endpoint_id", "result", "reason")
        if getattr(which, name) and name not in used
    ]
    if which.states and "states" not in used:
        conditions.append(_d.state.in_(which.states))
    if which.event_type and "event_type" not in used:
        conditions.append(type_condition(_d.event_type, which.event_type))
    if which.status is not None:
        conditions.append(_d.status.between(*which.status))
    if which.changed_since_ms is not None:
        conditions.append(_d.updated_at_ms >= which.changed_since_ms)
    return tuple(conditions)


def type_condition(column: ColumnElement[str], pattern: str) -> Condition:
    """The condition that a column has the type, or a type with a prefix such as `recording.*`."""
    if not pattern.endswith("*"):
        return column == pattern
    prefix = pattern[:-1]
    return and_(column >= prefix, column < prefix + "\U0010ffff")


def _times(which: DeliveryFilter) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    if which.since_ms is not None:
        conditions.append(_d.created_at_ms >= which.since_ms)
    if which.until_ms is not None:
        conditions.append(_d.created_at_ms < which.until_ms)
    return tuple(conditions)
