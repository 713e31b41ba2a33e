"""The list of events, from the index in the read model, with their outcomes."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast, get_args

from app.api.contract.events import DuplicateOf, EventOutcome, EventSummary
from app.api.contract.fields import PageOut
from app.api.handlers.delivery_filters import BadFilter, is_name, moment, type_pattern
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices
from app.core import match_reason
from app.core.model.event import Mode
from app.core.model.event_types import RESERVED
from app.core.model.timestamps import iso
from app.core.readmodel.rows import EventFilter, EventRow

#: what the list can be narrowed by
QUERY = ("tenant", "mode", "type", "id", "outcome", "unknown", "since", "until")
_OUTCOMES: tuple[EventOutcome, ...] = get_args(EventOutcome)
#: endpoints of one event that are asked why they did not receive it
_ASKED = 200


async def page(api: ApiServices, call: ApiRequest) -> PageOut:
    """Events of the caller's tenant and mode, or for the operator of all, newest first. Raises `ApiError` 400."""
    which, outcome = _filter(api, call)
    try:
        selected = await api.reads.events(which, limit=call.limit(), cursor=call.query.get("cursor"))
    except ValueError as error:
        raise ApiError(400, "invalid_query", "cursor: use the value of next_cursor unchanged") from error
    tenants = _existing_tenants(api)
    entries = [summary(api, row, tenants) for row in selected.rows]
    # The read model cannot tell `pending` from `unmatched`: both have no delivery.
    shown = [each for each in entries if outcome in (None, each.outcome)]
    return PageOut(data=shown, next_cursor=selected.cursor)


def summary(api: ApiServices, row: EventRow, tenants: Collection[str]) -> EventSummary:
    """An entry of the list; `tenants` has the ids of existing tenants."""
    return EventSummary(
        id=row.event_id or None,
        type=row.event_type or None,
        tenant=row.tenant or None,
        mode=row.mode or None,
        accepted_at=iso(row.at_ms),
        outcome=outcome_of(api, row),
        reason=row.reason,
        detail=row.detail,
        duplicate_of=duplicate_of(row),
        ordering_key=row.ordering_key,
        partition=row.partition,
        offset=row.offset,
        tenant_known=row.tenant in tenants,
        type_known=_is_declared(api, row),
    )


def duplicate_of(row: EventRow) -> DuplicateOf | None:
    """The record that a duplicate repeats."""
    if row.first is None:
        return None
    accepted_at = None if row.first_ms is None else iso(row.first_ms)
    return DuplicateOf(partition=row.first[0], offset=row.first[1], accepted_at=accepted_at)


def outcome_of(api: ApiServices, row: EventRow) -> EventOutcome:
    """The outcome of an event. Without deliveries it is pending while an endpoint waits for one.

    The index has neither the data that filters compare nor channels: endpoints with these make no event pending.
    """
    if row.result != "unmatched":
        return row.result
    if row.tenant == "":
        return "pending"  # events.rejected does not say yet why it could not be read
    directory = api.feed.directory
    endpoints, _ = directory.page(row.tenant, row.mode, row.event_type, "", _ASKED)
    matched = {endpoint.id for endpoint in endpoints}
    at = row.partition, row.offset
    for endpoint in endpoints:
        filtered = endpoint.filter is not None or endpoint.channels is not None
        why = match_reason.why(endpoint, matched, at=at, accepted_ms=row.at_ms, filtered=filtered)
        if why in ("pending", "paused"):
            return "pending"
    return "unmatched"


def _is_declared(api: ApiServices, row: EventRow) -> bool:
    declared = api.feed.directory.event_type(row.tenant, row.mode, row.event_type) is not None
    return declared or row.event_type in _catalogued(api) or row.event_type.startswith(RESERVED)


def _existing_tenants(api: ApiServices) -> frozenset[str]:
    """Tenants that are registered, or that have endpoints."""
    directory = api.feed.directory
    return frozenset(directory.tenants).union(tenant for tenant, _ in directory.scopes())


def _catalogued(api: ApiServices) -> frozenset[str]:
    """The names of the types in the catalogues of all products."""
    return frozenset(name for types in api.catalogue.values() for name in types)


def _filter(api: ApiServices, call: ApiRequest) -> tuple[EventFilter, EventOutcome | None]:
    query, caller = call.query, call.caller
    now_ms = api.clock.now_ms()
    try:
        for name in ("tenant", "id"):
            if query.get(name) is not None and not is_name(query[name]):
                raise BadFilter(name, "1 to 256 printable characters")
        mode = query.get("mode")
        if mode not in (None, "live", "test"):
            raise BadFilter("mode", "live or test")
        outcome = _outcome(query.get("outcome"))
        which = EventFilter(
            tenant=query.get("tenant"),
            mode=cast(Mode | None, mode),
            event_id=query.get("id"),
            event_type=type_pattern(query.get("type")),
            result="unmatched" if outcome == "pending" else outcome,
            since_ms=moment("since", query.get("since"), now_ms),
            until_ms=moment("until", query.get("until"), now_ms),
            tenants_except=_existing_tenants(api) if query.get("unknown") == "tenant" else None,
            types_except=_declared_types(api) if query.get("unknown") == "type" else None,
        )
        if query.get("unknown") not in (None, "tenant", "type"):
            raise BadFilter("unknown", "tenant or type")
    except BadFilter as error:
        raise ApiError(400, "invalid_query", error.detail) from error
    return (which if caller.operator else _of_tenant(which, call)), outcome


def _of_tenant(which: EventFilter, call: ApiRequest) -> EventFilter:
    caller = call.caller
    if which.tenant not in (None, caller.tenant) or which.mode not in (None, caller.mode):
        raise ApiError(403, "forbidden", "the key belongs to another tenant or mode than the query names")
    return EventFilter(
        **{name: getattr(which, name) for name in EventFilter.__struct_fields__ if name not in ("tenant", "mode")},
        tenant=caller.tenant,
        mode=caller.mode,
    )


def _outcome(text: str | None) -> EventOutcome | None:
    if text is not None and text not in _OUTCOMES:
        raise BadFilter("outcome", f"one of {', '.join(_OUTCOMES)}")
    return text


def _declared_types(api: ApiServices) -> frozenset[str]:
    """The names of all declared types, whichever tenant has declared them."""
    return _catalogued(api) | {name for _, _, name in api.feed.directory.event_types}
