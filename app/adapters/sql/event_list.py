"""The list of events: which index answers a filter, and which conditions are compared row by row (see `paging.py`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, String, Text, bindparam, exists, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.adapters.sql.index_paths import Condition, IndexPath, type_condition
from app.adapters.sql.paging import Listing
from app.adapters.sql.tables import DROPPED, deliveries, events
from app.core.model.event import Mode
from app.core.readmodel.rows import EventFilter, EventResult, EventRow

_e = events.c
_d = deliveries.c

#: whether the event has a delivery
_HAS_DELIVERY = exists(
    select(_d.id)
    .where(_d.tenant == _e.tenant, _d.mode == _e.mode, _d.event_id == _e.event_id, _e.event_id != "")
    .correlate(events)
)
EVENTS = Listing(events, (_e.at_ms, _e.partition, _e.offset), computed=(_HAS_DELIVERY.label("has_delivery"),))


#: events of which `recent_types` reads the types
RECENT = 2_000


def recent_types(tenant: str, mode: Mode, limit: int) -> Select[tuple[str]]:
    """The query of `ReadStore.recent_types`."""
    latest = (
        select(_e.event_type, _e.at_ms, _e.outcome)
        .where(_e.tenant == tenant, _e.mode == mode)
        .order_by(*(column.desc() for column in EVENTS.key))
        .limit(RECENT)
        .subquery()
        .c
    )
    return (
        select(latest.event_type)
        .where(or_(latest.outcome.is_(None), latest.outcome != "rejected"))
        .group_by(latest.event_type)
        .order_by(func.max(latest.at_ms).desc(), latest.event_type)
        .limit(limit)
    )


def ways(which: EventFilter, *, is_sqlite: bool) -> list[IndexPath]:
    """The index spans of a filter. The operator's, without tenant and mode, have indexes of their own."""
    rest = _rest(which, is_sqlite=is_sqlite)
    times = _times(which)
    if which.event_id is not None:
        return [IndexPath((_e.event_id == which.event_id, *times), (*_owner(which), *rest))]
    if which.result in ("rejected", "duplicate"):
        dropped = (_e.outcome == which.result, DROPPED)
        return [IndexPath((*span, *dropped, *times), (*more, *rest)) for span, more in _owners(which)]
    if which.event_type and not which.event_type.endswith("*") and which.tenant is not None:
        exact = (_e.event_type == which.event_type,)
        return [IndexPath((*span, *exact, *times), (*more, *rest)) for span, more in _owners(which)]
    return [IndexPath((*span, *times), (*more, *rest)) for span, more in _owners(which)]


def _owners(which: EventFilter) -> list[tuple[tuple[Condition, ...], tuple[Condition, ...]]]:
    """Spans over tenant and mode, and what they leave to compare."""
    if which.tenant is None:
        return [((), _owner(which))]
    modes = (which.mode,) if which.mode is not None else ("live", "test")
    return [((_e.tenant == which.tenant, _e.mode == mode), ()) for mode in modes]


def _owner(which: EventFilter) -> tuple[Condition, ...]:
    wanted = ((_e.tenant, which.tenant), (_e.mode, which.mode))
    return tuple(column == value for column, value in wanted if value is not None)


def _rest(which: EventFilter, *, is_sqlite: bool) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    if which.event_type is not None:
        by_index = which.tenant is not None and which.event_id is None and which.result not in ("rejected", "duplicate")
        if which.event_type.endswith("*") or not by_index:
            conditions.append(type_condition(_e.event_type, which.event_type))
    if which.result in ("matched", "unmatched"):
        conditions += [_e.outcome.is_(None), _HAS_DELIVERY if which.result == "matched" else ~_HAS_DELIVERY]
    if which.result in ("rejected", "duplicate") and which.event_id is not None:
        conditions.append(_e.outcome == which.result)
    for column, values in ((_e.tenant, which.tenants_except), (_e.event_type, which.types_except)):
        if values is not None:
            conditions.append(_not_among(column, values, is_sqlite=is_sqlite))
    return tuple(conditions)


def _not_among(column: ColumnElement[str], values: Collection[str], *, is_sqlite: bool) -> ColumnElement[bool]:
    """As one parameter, whatever the number of values."""
    if is_sqlite:
        every = bindparam(None, msgspec.json.encode(sorted(values)).decode(), String)
        return column.not_in(select(func.json_each(every).table_valued("value").c.value))
    listed = bindparam(None, sorted(values), ARRAY(Text()))
    return column.not_in(select(func.unnest(listed).column_valued()))


def _times(which: EventFilter) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    if which.since_ms is not None:
        conditions.append(_e.at_ms >= which.since_ms)
    if which.until_ms is not None:
        conditions.append(_e.at_ms < which.until_ms)
    return tuple(conditions)


def event_row(row: Row[Any]) -> EventRow:
    """A row of the list as a value."""
    result: EventResult = row.outcome or ("matched" if row.has_delivery else "unmatched")
    return EventRow(
        partition=row.partition,
        offset=row.offset,
        at_ms=row.at_ms,
        tenant=row.tenant,
        mode=row.mode,
        event_id=row.event_id,
        event_type=row.event_type,
        ordering_key=row.ordering_key,
        result=result,
        reason=row.reason,
        detail=row.detail,
        first=(row.first_partition, row.first_offset) if row.first_offset is not None else None,
        first_ms=row.first_ms,
    )
