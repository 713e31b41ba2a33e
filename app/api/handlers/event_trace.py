"""One event, and why each endpoint of its tenant and mode got it or did not.

An event is found by its deliveries, which the read model knows, or by its place in events.raw, if the caller names it.
An event without deliveries is not indexed: with `since`, the newest part of events.raw is looked through for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.api.contract.deliveries import DuplicateOf, EventEndpoint, EventOut
from app.api.handlers import event_payloads
from app.api.handlers.delivery_filters import BadFilter, is_name, moment
from app.api.handlers.event_payloads import Spot
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices
from app.api.turnstile import Turnstile
from app.core import match_reason
from app.core.errors import Defect
from app.core.model.event import Event
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow
from app.core.records import duplicate as duplicate_record
from app.core.records.raw_event import data_of
from app.core.topics.names import TopicName
from app.ports.consumer import Record

#: deliveries of one event that an answer shows
_SHOWN = 1000
_PAGE = 100
#: records that a search looks at
_SEARCHED = 50_000
_DUPLICATES = 50_000
_searches = Turnstile("search", at_once=2, wait_s=30.0)


class FoundEvent(msgspec.Struct, frozen=True):
    """An event that Kafka still has."""

    event: Event
    record: Record

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return self.record.partition, self.record.offset


async def told(api: ApiServices, call: ApiRequest) -> EventOut:
    """What is known of the event that a call names; raises `ApiError` 404 and 400."""
    id_, named, since_ms = call.path["id"], _named(call), _since(api, call)
    after = _after(call)
    rows = await _rows(api, call, id_) if is_name(id_) else []
    first = next((row.source for row in rows if row.source is not None), None)
    found = await _at(api, call, id_, named or first)
    if found is None and not rows and named is None and since_ms is not None:
        found = await _searched(api, call, id_, since_ms, after)
    if found is None and not rows:
        raise _unknown(id_, named)
    duplicate, doubt = None, None
    if found is not None and first is not None and found.spot != first:  # two records with one id
        duplicate = DuplicateOf(partition=first[0], offset=first[1], accepted_at=iso(rows[0].created_at_ms))
        rows = []
    elif found is not None and not rows:
        duplicate, doubt = await _duplicate(api, found)
    shown = _shown(api, call, id_, rows, found, first, duplicate)
    return _doubted(shown, doubt) if doubt is not None else shown


def _doubted(shown: EventOut, doubt: str) -> EventOut:
    """Say so where the answer would be another one."""
    endpoints = [
        msgspec.structs.replace(each, explanation=f"{each.explanation} {doubt}") if each.why == "pending" else each
        for each in shown.endpoints
    ]
    return msgspec.structs.replace(shown, endpoints=endpoints)


def _named(call: ApiRequest) -> Spot | None:
    given = [call.query.get(name) for name in ("partition", "offset")]
    if given == [None, None]:
        return None
    numbers = [int(text) for text in given if text is not None and text.isascii() and text.isdigit() and len(text) < 19]
    if len(numbers) != 2:
        raise ApiError(400, "invalid_query", "partition, offset: two numbers, both or none")
    return numbers[0], numbers[1]


def _after(call: ApiRequest) -> Spot | None:
    text = call.query.get("after")
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise ApiError(400, "invalid_query", "after: PARTITION:OFFSET, as a search that did not reach the end says it")
    return int(parts[0]), int(parts[1])


def _since(api: ApiServices, call: ApiRequest) -> int | None:
    try:
        return moment("since", call.query.get("since"), api.clock.now_ms())
    except BadFilter as error:
        raise ApiError(400, "invalid_query", error.detail) from error


async def _rows(api: ApiServices, call: ApiRequest, id_: str) -> list[DeliveryRow]:
    which = DeliveryFilter(tenant=call.caller.tenant, mode=call.caller.mode, event_id=id_)
    rows: list[DeliveryRow] = []
    cursor: str | None = None
    while len(rows) < _SHOWN:
        page = await api.reads.deliveries(which, limit=_PAGE, cursor=cursor)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    return rows


async def _at(api: ApiServices, call: ApiRequest, id_: str, spot: Spot | None) -> FoundEvent | None:
    if spot is None:
        return None
    if spot[0] not in await api.ends.ends(api.topics.name(TopicName.EVENTS_RAW)):
        return None
    found = (await event_payloads.events_at(api, [spot])).get(spot)
    return FoundEvent(*found) if found is not None and _is_it(found[0], call, id_) else None


def _is_it(event: Event, call: ApiRequest, id_: str) -> bool:
    return (event.id, event.tenant, event.mode) == (id_, call.caller.tenant, call.caller.mode)


async def _searched(
    api: ApiServices, call: ApiRequest, id_: str, since_ms: int, after: Spot | None
) -> FoundEvent | None:
    def wanted(record: Record) -> FoundEvent | None:
        event = event_payloads.understood(api, record)
        return FoundEvent(event, record) if event is not None and _is_it(event, call, id_) else None

    topic = api.topics.name(TopicName.EVENTS_RAW)
    async with _searches.turn(call.caller.tenant):
        numbers = list(await api.ends.ends(topic))
        seen = await event_payloads.search(api, topic, numbers, since_ms, wanted, most=_SEARCHED, after=after)
    if seen.found is None and seen.after is not None:
        number, offset = seen.after
        detail = (
            f"event {id_} is not among the {seen.read} records that were searched, up to partition {number}, offset "
            f"{offset} of events.raw. To search on, add &after={number}:{offset} (--after {number}:{offset}); or name "
            "a later time"
        )
        raise ApiError(404, "not_found", detail)
    return seen.found


def _unknown(id_: str, named: Spot | None) -> ApiError:
    if named is not None:
        return ApiError(404, "not_found", f"there is no event {id_} at that place, or Kafka keeps it no longer")
    return ApiError(
        404,
        "not_found",
        f"no delivery of an event {id_} is known. An event that no endpoint got is not indexed: name its place in "
        "events.raw with ?partition=…&offset=…, or look for it with ?since=15m",
    )


async def _duplicate(api: ApiServices, found: FoundEvent) -> tuple[DuplicateOf | None, str | None]:
    """What an event repeats, if it was dropped, and what is not known about that.

    Fan-out writes it to the event's own partition of events.duplicates, in the order of the events.
    """
    topic, number = api.topics.name(TopicName.EVENTS_DUPLICATES), found.spot[0]

    def wanted(record: Record) -> DuplicateOf | None:
        try:
            said = duplicate_record.read(record.headers)
        except Defect:
            return None
        if (said.partition, said.offset) != found.spot:
            return None
        return DuplicateOf(
            partition=said.first_partition, offset=said.first_offset, accepted_at=iso(said.first_timestamp_ms)
        )

    since_ms = max(0, found.record.timestamp - 60_000)
    seen = await event_payloads.search(api, topic, [number], since_ms, wanted, most=_DUPLICATES)
    if seen.found is not None or seen.after is None:
        return seen.found, None
    return None, (
        f"Whether the event was dropped as a duplicate is not known: it is not among the {seen.read} records of "
        "events.duplicates that were searched."
    )


def _shown(
    api: ApiServices,
    call: ApiRequest,
    id_: str,
    rows: Sequence[DeliveryRow],
    found: FoundEvent | None,
    first: Spot | None,
    duplicate: DuplicateOf | None,
) -> EventOut:
    spot = found.spot if found is not None else first
    event_type = found.event.type if found is not None else rows[0].event_type
    accepted_ms = found.record.timestamp if found is not None else rows[0].created_at_ms
    data: object = None
    if found is not None:
        data = msgspec.Raw(data_of(found.event.body, found.event.format))
    return EventOut(
        id=id_,
        type=event_type,
        mode=call.caller.mode,
        created_at=found.event.created_at if found else None,
        accepted_at=iso(accepted_ms),
        ordering_key=found.event.ordering_key if found else rows[0].ordering_key,
        partition=spot[0] if spot else None,
        offset=spot[1] if spot else None,
        data=data,
        data_note=None if found is not None else event_payloads.UNKNOWN if spot is None else event_payloads.GONE,
        duplicate_of=duplicate,
        endpoints=_endpoints(api, call, event_type, accepted_ms, rows, spot, duplicate),
    )


def _endpoints(
    api: ApiServices,
    call: ApiRequest,
    event_type: str,
    accepted_ms: int,
    rows: Sequence[DeliveryRow],
    spot: Spot | None,
    duplicate: DuplicateOf | None,
) -> list[EventEndpoint]:
    directory, caller = api.feed.directory, call.caller
    mine = {each.id: each for each in directory.endpoints(caller.tenant, caller.mode)}
    matched = {each.id for each in directory.match(caller.tenant, caller.mode, event_type)}
    said = []
    for row in rows:
        endpoint = mine.get(row.endpoint_id)
        why: match_reason.MatchReason = "matched" if endpoint is not None else "removed"
        said.append(_said(row.endpoint_id, endpoint.url if endpoint else None, why, row))
    given = {row.endpoint_id for row in rows}
    for endpoint in mine.values():
        if endpoint.id not in given:
            why = match_reason.why(endpoint, matched, at=spot, accepted_ms=accepted_ms, duplicate=duplicate is not None)
            said.append(_said(endpoint.id, endpoint.url, why, None))
    return said


def _said(endpoint_id: str, url: str | None, why: match_reason.MatchReason, row: DeliveryRow | None) -> EventEndpoint:
    return EventEndpoint(
        endpoint=endpoint_id,
        url=url,
        why=why,
        explanation=match_reason.EXPLANATIONS[why],
        delivery=row.id if row else None,
        state=row.state if row else None,
        replay=row.replay_id if row else None,
    )
