"""What an endpoint would get for an event: the request, without sending it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from app.api.contract.fields import FieldError
from app.api.contract.previews import PreviewError, PreviewIn, PreviewOut
from app.api.contract.webhooks import TestIn, TestRequest
from app.api.handlers import event_payloads
from app.api.handlers.delivery_filters import is_name
from app.api.handlers.shape_settings import SHAPE_SETTINGS, check_shape
from app.api.handlers.webhook_actions import shown_headers, test_delivery
from app.api.handlers.webhooks import owned
from app.api.problems import ApiError, invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import ConfigError, Defect, MalformedEvent, TransformFailed, Unrepresentable
from app.core.model import ids
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import includes
from app.core.readmodel.rows import EventFilter
from app.core.records.raw_event import Coordinates, decode_event
from app.profiles.catalog import PROFILES

#: rows of the index among which an event is looked for
_ROWS = 100


class _Shown(NamedTuple):
    origin: Literal["given", "stored", "example"]
    delivery: Delivery


async def show(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The request that the endpoint would get now. Nothing is stored or sent."""
    body: PreviewIn = call.body or PreviewIn()
    endpoint = _tried(owned(api, call), body)
    chosen = await _chosen(api, call, endpoint, body)
    now_ms, delivery = api.clock.now_ms(), chosen.delivery
    request = error = None
    try:
        sent = api.builder.request(delivery, endpoint, api.builder.prepared(endpoint, now_ms), now_ms)
        request = TestRequest(headers=shown_headers(endpoint, sent), body=event_payloads.as_text(sent.body))
    except TransformFailed as failure:
        error = PreviewError(reason="transform_failed", detail=str(failure))
    except Unrepresentable as failure:
        error = PreviewError(reason="unrepresentable", detail=str(failure))
    except (ConfigError, Defect) as failure:
        raise ApiError(409, "secret_unreadable", f"the endpoint's secret cannot be used: {failure}") from failure
    shown = PreviewOut(
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        origin=chosen.origin,
        request=request,
        error=error,
    )
    return ApiResponse(body=shown, transient=True)


def _tried(endpoint: Endpoint, body: PreviewIn) -> Endpoint:
    """The endpoint with the settings of the body. Raises `ApiError` 422."""
    named = {name: getattr(body, name) for name in SHAPE_SETTINGS if getattr(body, name) is not msgspec.UNSET}
    check_shape(named)
    return msgspec.structs.replace(endpoint, **named) if named else endpoint


async def _chosen(api: ApiServices, call: ApiRequest, endpoint: Endpoint, body: PreviewIn) -> _Shown:
    if isinstance(body.event, msgspec.Raw):
        if body.event_id is not None:
            raise invalid(FieldError(detail="excludes event", pointer="/event_id"))
        return _Shown("given", _delivery(endpoint, _decoded(api, call, bytes(body.event))))
    if body.event_id is not None:
        stored = await _stored(api, endpoint, {"event_id": body.event_id} if is_name(body.event_id) else None)
        if stored is None:
            raise not_found("event", body.event_id)
        return _Shown("stored", stored)
    recent = await _stored(api, endpoint, {"event_type": body.type} if body.type else {})
    if recent is not None:
        return _Shown("stored", recent)
    return _Shown("example", test_delivery(api, endpoint, TestIn(type=body.type), api.clock.now_ms()))


async def _stored(api: ApiServices, endpoint: Endpoint, which: dict[str, Any] | None) -> Delivery | None:
    """The newest accepted event of the endpoint's tenant and mode that matches, if Kafka still has it."""
    if which is None:
        return None
    opt_in = PROFILES[endpoint.profile].opt_in
    rows = (await api.reads.events(EventFilter(tenant=endpoint.tenant, mode=endpoint.mode, **which), limit=_ROWS)).rows
    for row in rows:
        subscribed = bool(which) or any(includes(each, row.event_type, opt_in) for each in endpoint.events)
        if row.result not in ("matched", "unmatched") or not subscribed:
            continue
        spot = row.partition, row.offset
        event, record = (await event_payloads.events_at(api, [spot])).get(spot, (None, None))
        if event is None or record is None or (event.id, event.tenant) != (row.event_id, endpoint.tenant):
            return None
        event = event_payloads.shown_event(api, event)
        return _delivery(endpoint, event, accepted_at_ms=record.timestamp, source=f"{spot[0]}:{spot[1]}")
    return None


def _decoded(api: ApiServices, call: ApiRequest, value: bytes) -> Event:
    """The event as fan-out would decode it from a record of events.raw."""
    headers = [("tenant", call.caller.tenant.encode()), ("mode", call.caller.mode.encode())]
    at = Coordinates("preview", 0, 0, api.clock.now_ms())
    try:
        return decode_event(value, headers, at, max_bytes=api.max_event_bytes)
    except MalformedEvent as error:
        if error.reason == "too_large":
            raise ApiError(413, "too_large", error.detail) from error
        raise invalid(FieldError(detail=error.detail, pointer="/event")) from error


def _delivery(endpoint: Endpoint, event: Event, *, accepted_at_ms: int = 0, source: str | None = None) -> Delivery:
    return Delivery(
        id=ids.delivery_id(endpoint.tenant, event.id, endpoint.id),
        endpoint_id=endpoint.id,
        event_id=event.id,
        event_type=event.type,
        tenant=endpoint.tenant,
        mode=endpoint.mode,
        created_at=event.created_at,
        body=event.body,
        format=event.format,
        attributes=event.attributes,
        accepted_at_ms=accepted_at_ms,
        ordering_key=event.ordering_key,
        traceparent=event.traceparent,
        source=source,
    )
