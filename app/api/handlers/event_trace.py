"""One event, and why each endpoint of its tenant and mode received it or did not.

An event is looked up in the index of events. If the index does not have it yet, it is looked up by its deliveries, by
its coordinates if the caller names them, or, with `since`, by a search through the newest part of events.raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from app.api.contract.events import DuplicateOf, EventEndpoint, EventOut, EventOutcome
from app.api.handlers import event_listing, event_payloads
from app.api.handlers.delivery_filters import BadFilter, is_name, moment
from app.api.handlers.event_payloads import Spot
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices, Caller
from app.api.turnstile import Turnstile
from app.core import match_reason
from app.core.filters.conditions import FailedCondition
from app.core.filters.verdicts import CompiledFilters, EventVerdicts
from app.core.model.channels import carries
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow, EventFilter, EventRow
from app.core.records.raw_event import data_of, fields_of
from app.core.topics.names import TopicName
from app.ports.consumer import Record

#: deliveries of one event that an answer shows
_SHOWN = 1000
_PAGE = 100
#: records that a search reads
_SEARCHED = 50_000
#: patterns of a subscription that an explanation names
_PATTERNS = 5
#: steps of filters that an explanation evaluates
_FILTER_STEPS = 200_000
_searches = Turnstile("search", at_once=2, wait_s=30.0)


class FoundEvent(msgspec.Struct, frozen=True):
    """An event that Kafka still has."""

    event: Event
    record: Record

    @property
    def spot(self) -> Spot:
        """The event's coordinates in events.raw."""
        return self.record.partition, self.record.offset


class _Trace(NamedTuple):
    """The data about one event from all sources."""

    id: str
    #: the event's owner; empty when the record has no tenant
    owner: Caller
    #: its row in the index
    entry: EventRow | None
    deliveries: Sequence[DeliveryRow]
    stored: FoundEvent | None
    #: the coordinates of the record that the deliveries come from
    source: Spot | None
    #: when that record was accepted
    source_ms: int | None

    @property
    def spot(self) -> Spot | None:
        """The event's coordinates."""
        if self.stored is not None:
            return self.stored.spot
        return (self.entry.partition, self.entry.offset) if self.entry is not None else self.source

    @property
    def event_type(self) -> str:
        """The event's type; empty if it is unknown."""
        if self.stored is not None:
            return self.stored.event.type
        return self.deliveries[0].event_type if self.deliveries else self.entry.event_type if self.entry else ""

    @property
    def accepted_ms(self) -> int:
        """When the event was accepted."""
        if self.stored is not None:
            return self.stored.record.timestamp
        return self.entry.at_ms if self.entry is not None else self.deliveries[0].created_at_ms


async def trace(api: ApiServices, call: ApiRequest) -> EventOut:
    """The event that a call names. Raises `ApiError` 400, 404, and 409 where the operator must name a tenant."""
    id_, named, since_ms, after = call.path["id"], _named(call), _since(api, call), _after(call)
    entries = await _entries(api, call.caller, id_, named)
    owner = _owner(call.caller, id_, entries)
    rows = await _deliveries(api, owner, id_) if is_name(id_) and owner.tenant else []
    source = next((row.source for row in rows if row.source is not None), None)
    entry = _chosen(entries, named or source)
    spot = named or source or ((entry.partition, entry.offset) if entry is not None else None)
    stored = await _at(api, owner, id_, spot)
    if stored is None and not rows and entry is None and named is None and since_ms is not None:
        stored = await _searched(api, owner, id_, since_ms, after)
    if stored is None and not rows and entry is None:
        raise _unknown(id_, named)
    traced = _Trace(id_, owner, entry, rows, stored, source, rows[0].created_at_ms if rows else None)
    if source is not None and traced.spot != source:  # another record with the same id
        traced = traced._replace(deliveries=[])
    return _present(api, traced)


def _named(call: ApiRequest) -> Spot | None:
    texts = [call.query.get(name) for name in ("partition", "offset")]
    if texts == [None, None]:
        return None
    numbers = [int(text) for text in texts if text is not None and text.isascii() and text.isdigit() and len(text) < 19]
    if len(numbers) != 2:
        raise ApiError(400, "invalid_query", "partition, offset: two numbers, both or none")
    return numbers[0], numbers[1]


def _after(call: ApiRequest) -> Spot | None:
    text = call.query.get("after")
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise ApiError(400, "invalid_query", "after: PARTITION:OFFSET, from the response of a search")
    return int(parts[0]), int(parts[1])


def _since(api: ApiServices, call: ApiRequest) -> int | None:
    try:
        return moment("since", call.query.get("since"), api.clock.now_ms())
    except BadFilter as error:
        raise ApiError(400, "invalid_query", error.detail) from error


async def _entries(api: ApiServices, caller: Caller, id_: str, named: Spot | None) -> list[EventRow]:
    """The index rows of an event id, and of coordinates if given, newest first; for the operator of all tenants."""
    if not is_name(id_):
        return []
    which = EventFilter(event_id=id_)
    if not caller.operator:
        which = msgspec.structs.replace(which, tenant=caller.tenant, mode=caller.mode)
    rows = (await api.reads.events(which, limit=_PAGE)).rows
    return [row for row in rows if named in (None, (row.partition, row.offset))]


def _owner(caller: Caller, id_: str, entries: Sequence[EventRow]) -> Caller:
    """The tenant of the event: the caller's, or for the operator the only one with such an event."""
    if not caller.operator:
        return caller
    owners = sorted({(row.tenant, row.mode) for row in entries})
    if len(owners) > 1:
        some = ", ".join(f"{tenant or 'no tenant'} {mode}".strip() for tenant, mode in owners[:10])
        detail = f"several tenants and modes have an event {id_}: {some}. Name one with Hookstream-Tenant"
        raise ApiError(409, "conflict", f"{detail} and Hookstream-Mode, or name the partition and offset")
    tenant, mode = owners[0] if owners else ("", "")
    return Caller(caller.id, tenant, mode or "live", ("read",), actor=caller.actor)


def _chosen(entries: Sequence[EventRow], spot: Spot | None) -> EventRow | None:
    """The row at these coordinates; without coordinates the oldest accepted one, or else the newest."""
    if spot is not None:
        return next((row for row in entries if (row.partition, row.offset) == spot), None)
    accepted = [row for row in entries if row.result in ("matched", "unmatched")]
    return accepted[-1] if accepted else entries[0] if entries else None


async def _deliveries(api: ApiServices, owner: Caller, id_: str) -> list[DeliveryRow]:
    which = DeliveryFilter(tenant=owner.tenant, mode=owner.mode, event_id=id_)
    rows: list[DeliveryRow] = []
    cursor: str | None = None
    while len(rows) < _SHOWN:
        page = await api.reads.deliveries(which, limit=_PAGE, cursor=cursor)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    return rows


async def _at(api: ApiServices, owner: Caller, id_: str, spot: Spot | None) -> FoundEvent | None:
    if spot is None or spot[0] not in await api.ends.ends(api.topics.name(TopicName.EVENTS_RAW)):
        return None
    stored = (await event_payloads.events_at(api, [spot])).get(spot)
    return FoundEvent(*stored) if stored is not None and _is_event(stored[0], owner, id_) else None


def _is_event(event: Event, owner: Caller, id_: str) -> bool:
    return (event.id, event.tenant, event.mode) == (id_, owner.tenant, owner.mode)


async def _searched(api: ApiServices, owner: Caller, id_: str, since_ms: int, after: Spot | None) -> FoundEvent | None:
    def wanted(record: Record) -> FoundEvent | None:
        event = event_payloads.understood(api, record)
        return FoundEvent(event, record) if event is not None and _is_event(event, owner, id_) else None

    topic = api.topics.name(TopicName.EVENTS_RAW)
    async with _searches.turn(owner.tenant):
        numbers = list(await api.ends.ends(topic))
        seen = await event_payloads.search(api, topic, numbers, since_ms, wanted, most=_SEARCHED, after=after)
    if seen.result is None and seen.after is not None:
        number, offset = seen.after
        detail = (
            f"event {id_} is not among the {seen.read} records that were searched, up to partition {number}, offset "
            f"{offset} of events.raw. To continue, add &after={number}:{offset} (--after {number}:{offset}), or name "
            "a later time"
        )
        raise ApiError(404, "not_found", detail)
    return seen.result


def _unknown(id_: str, named: Spot | None) -> ApiError:
    if named is not None:
        return ApiError(404, "not_found", f"there is no event {id_} at these coordinates, or Kafka has deleted it")
    return ApiError(
        404,
        "not_found",
        f"there is no event {id_} in the index. An event is indexed within seconds, and removed with its deliveries. "
        "Name its partition and offset, or search events.raw with ?since=15m",
    )


def _present(api: ApiServices, traced: _Trace) -> EventOut:
    entry, stored, spot = traced.entry, traced.stored, traced.spot
    data: object = None
    if stored is not None:
        shown = event_payloads.shown_event(api, stored.event)
        data = msgspec.Raw(data_of(shown.body, shown.format))
    owner = traced.owner if traced.owner.tenant else None
    return EventOut(
        id=traced.id,
        type=traced.event_type or None,
        tenant=owner.tenant if owner else None,
        mode=owner.mode if owner else None,
        outcome=_outcome(api, traced),
        reason=entry.reason if entry is not None else None,
        detail=entry.detail if entry is not None else None,
        created_at=stored.event.created_at if stored else None,
        accepted_at=iso(traced.accepted_ms),
        ordering_key=_ordering_key(traced),
        channels=list(stored.event.channels) if stored is not None else None,
        deliver_at=_iso(stored.event.deliver_at_ms) if stored is not None else None,
        expires_at=_iso(stored.event.expires_at_ms) if stored is not None else None,
        partition=spot[0] if spot else None,
        offset=spot[1] if spot else None,
        data=data,
        data_note=None if stored is not None else _data_note(traced),
        duplicate_of=_duplicate_of(traced),
        endpoints=_endpoints(api, traced),
    )


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def _outcome(api: ApiServices, traced: _Trace) -> EventOutcome | None:
    if traced.deliveries:
        return "matched"
    if traced.entry is not None:
        return event_listing.outcome_of(api, traced.entry)
    return "duplicate" if _duplicate_of(traced) is not None else None


def _ordering_key(traced: _Trace) -> str | None:
    if traced.stored is not None:
        return traced.stored.event.ordering_key
    if traced.deliveries:
        return traced.deliveries[0].ordering_key
    return traced.entry.ordering_key if traced.entry is not None else None


def _data_note(traced: _Trace) -> str:
    if traced.entry is not None and traced.entry.result == "rejected":
        return event_payloads.REJECTED
    return event_payloads.UNKNOWN if traced.spot is None else event_payloads.GONE


def _duplicate_of(traced: _Trace) -> DuplicateOf | None:
    """The record that was accepted in place of the event."""
    if traced.entry is not None:
        return event_listing.duplicate_of(traced.entry)
    if traced.source is not None and traced.spot != traced.source:
        accepted_at = None if traced.source_ms is None else iso(traced.source_ms)
        return DuplicateOf(partition=traced.source[0], offset=traced.source[1], accepted_at=accepted_at)
    return None


def _endpoints(api: ApiServices, traced: _Trace) -> list[EventEndpoint]:
    owner, event_type, directory = traced.owner, traced.event_type, api.feed.directory
    mine = {each.id: each for each in directory.endpoints(owner.tenant, owner.mode)} if owner.tenant else {}
    shown = [_with_delivery(mine.get(row.endpoint_id), row) for row in traced.deliveries]
    received = {row.endpoint_id for row in traced.deliveries}
    matched = {each.id for each in directory.match(owner.tenant, owner.mode, event_type)}
    dropped, verdicts = _dropped(traced), _verdicts(traced)
    is_redacted = bool(event_payloads.hidden_fields(api, owner.tenant))
    for endpoint in mine.values():
        if endpoint.id not in received:
            failed = _failed(verdicts, endpoint) if endpoint.id in matched else None
            if failed is not None and is_redacted:
                failed = msgspec.structs.replace(failed, explanation=event_payloads.HIDDEN_VALUES)
            why = match_reason.why(
                endpoint,
                matched,
                at=traced.spot,
                accepted_ms=traced.accepted_ms,
                dropped=dropped,
                on_channel=_is_on_channel(traced, endpoint),
                filtered=failed is not None,
            )
            shown.append(_without_delivery(endpoint, why, event_type, failed))
    return shown


def _verdicts(traced: _Trace) -> EventVerdicts | None:
    """What filters decide about the event; None: Kafka no longer has it."""
    if traced.stored is None:
        return None
    return EventVerdicts(CompiledFilters(), partial(fields_of, traced.stored.event))


def _failed(verdicts: EventVerdicts | None, endpoint: Endpoint) -> FailedCondition | None:
    """The condition of an endpoint's filter that the event does not meet, as far as filters are evaluated here."""
    if endpoint.filter is None or verdicts is None or verdicts.steps > _FILTER_STEPS:
        return None
    return verdicts.failure(endpoint.filter)


def _is_on_channel(traced: _Trace, endpoint: Endpoint) -> bool:
    """Whether the event carries a channel of the endpoint, as far as Kafka still has the event."""
    return traced.stored is None or carries(traced.stored.event.channels, endpoint.channels)


def _dropped(traced: _Trace) -> match_reason.DropReason | None:
    if traced.entry is not None and traced.entry.result == "rejected":
        return "rejected"
    return "duplicate" if _duplicate_of(traced) is not None else None


def _with_delivery(endpoint: Endpoint | None, row: DeliveryRow) -> EventEndpoint:
    why: match_reason.MatchReason = "matched" if endpoint is not None else "removed"
    return EventEndpoint(
        endpoint=row.endpoint_id,
        url=endpoint.url if endpoint is not None else None,
        why=why,
        explanation=match_reason.EXPLANATIONS[why],
        delivery=row.id,
        state=row.state,
        replay=row.replay_id,
    )


def _without_delivery(
    endpoint: Endpoint, why: match_reason.MatchReason, event_type: str, failed: FailedCondition | None
) -> EventEndpoint:
    explanation = match_reason.EXPLANATIONS[why]
    if why == "filtered" and failed is not None:
        explanation = f"The endpoint's filter refuses the event: {failed.explanation}."
    if why == "other_channels":
        explanation = f"The event carries none of the endpoint's channels: {', '.join(endpoint.channels or ())}."
    if why == "not_subscribed":
        more = len(endpoint.events) - _PATTERNS
        patterns = ", ".join(endpoint.events[:_PATTERNS]) + (f" and {more} more" if more > 0 else "")
        explanation = f"The endpoint subscribes to {patterns}, which does not include {event_type or 'the event'}."
    return EventEndpoint(
        endpoint=endpoint.id,
        url=endpoint.url,
        why=why,
        explanation=explanation,
        delivery=None,
        state=None,
        replay=None,
    )
