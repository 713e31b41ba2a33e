"""Append, list and explain events over HTTP."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import structlog

from app.api.contract.events import EventAccepted, EventIn, EventsAccepted
from app.api.contract.fields import FieldError
from app.api.handlers import audit, event_listing, event_trace, event_tracing
from app.api.problems import ApiError, invalid
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import MalformedEvent
from app.core.model import ids
from app.core.model.event_types import RESERVED
from app.core.records.raw_event import Coordinates, decode_event
from app.core.topics.names import TopicName

logger = structlog.get_logger(__name__)
_MAX_BATCH = 1000


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Append one event or a batch; returns when Kafka has acknowledged all records."""
    many = isinstance(call.body, list)
    events: list[EventIn] = call.body if many else [call.body]
    if not 1 <= len(events) <= _MAX_BATCH:
        raise invalid(FieldError(detail=f"an array holds 1 to {_MAX_BATCH} events", pointer=""))
    if call.caller.actor:  # a person, not a service with a key
        await audit.record(
            api,
            call.caller,
            "event.send",
            f"event/{events[0].id or events[0].type}",
            detail=f"{len(events)} of type {events[0].type}" if many else events[0].type,
        )
    topic = api.topics.name(TopicName.EVENTS_RAW)
    headers = [("tenant", call.caller.tenant.encode()), ("mode", call.caller.mode.encode())]
    trace = event_tracing.traceparent(api, call)
    if trace is not None:
        headers.append(("traceparent", trace.encode()))
    records = [_record(api, call, each, index if many else None) for index, each in enumerate(events)]
    started_ms, event_ids = api.clock.now_ms(), [id_ for id_, _, _ in records]
    try:
        acks = [await api.log.append(topic, key=key, value=value, headers=headers) for _, key, value in records]
        await asyncio.gather(*acks)
    except Exception as failure:
        event_tracing.export(api, call, topic, event_ids, started_ms, error=type(failure).__name__)
        raise
    event_tracing.export(api, call, topic, event_ids, started_ms)
    _log(call, event_ids, trace)
    accepted = [EventAccepted(id=id_) for id_ in event_ids]
    return ApiResponse(body=EventsAccepted(data=accepted) if many else accepted[0])


def _log(call: ApiRequest, event_ids: list[str], trace: str | None) -> None:
    """The line by which the id of a request is joined to those of its events."""
    if logger.is_enabled_for(logging.DEBUG):
        first = {"event_id": event_ids[0], "trace_id": trace[3:35] if trace else None}
        logger.debug(
            "events.accepted",
            request=call.id,
            tenant=call.caller.tenant,
            mode=call.caller.mode,
            events=len(event_ids),
            **{name: value for name, value in first.items() if value is not None},
        )


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """List events, newest first, with their outcomes. The operator also sees events of other and of unknown tenants."""
    return ApiResponse(body=await event_listing.page(api, call))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One event, and why each endpoint received it or did not."""
    return ApiResponse(body=await event_trace.trace(api, call))


def _record(api: ApiServices, call: ApiRequest, event: EventIn, index: int | None) -> tuple[str, bytes, bytes]:
    """Id, key and value of the record. Raises `ApiError` when fan-out would reject it."""
    caller, place = call.caller, "" if index is None else f"/{index}"
    if event.type.startswith(RESERVED):
        raise invalid(
            FieldError(detail=f"types that begin with {RESERVED} are the service's own", pointer=f"{place}/type")
        )
    derived = _id(api, call, event, index or 0)
    event_id = event.id if event.id is not None else derived
    fields: dict[str, object] = {"type": event.type, "id": event_id, "data": event.data}
    if call.idempotency_key and not event.idempotency_key:
        fields["idempotency_key"] = derived
    names = (
        "created_at",
        "idempotency_key",
        "ordering_key",
        "metadata",
        "channels",
        "subject",
        "deliver_at",
        "expires_at",
    )
    for name in names:
        if getattr(event, name) is not None:
            fields[name] = getattr(event, name)
    value = msgspec.json.encode(fields)
    try:
        decode_event(value, (), Coordinates("api", 0, 0, api.clock.now_ms()), max_bytes=api.max_event_bytes)
    except MalformedEvent as error:
        if error.reason == "too_large":
            raise ApiError(413, "too_large", f"event{place}: {error.detail}") from error
        raise invalid(FieldError(detail=error.detail, pointer=place + _POINTERS.get(error.reason, ""))) from error
    # Records that share an ordering or idempotency key have to be in one partition: the producers' default key, too.
    return event_id, (event.ordering_key or caller.tenant).encode(), value


def _id(api: ApiServices, call: ApiRequest, event: EventIn, index: int) -> str:
    """The id of an event without one. A duplicate gets the id of the event that it repeats, in every process."""
    caller = call.caller
    if event.idempotency_key:
        return ids.keyed_event_id(caller.tenant, caller.mode, event.idempotency_key)
    if call.idempotency_key:
        return ids.posted_event_id(caller.tenant, caller.mode, call.idempotency_key, index)
    return api.minter.id("evt")


_POINTERS = {
    "bad_type": "/type",
    "bad_id": "/id",
    "bad_created_at": "/created_at",
    "bad_subject": "/subject",
    "bad_deliver_at": "/deliver_at",
    "bad_expires_at": "/expires_at",
    "not_json": "/data",
}
