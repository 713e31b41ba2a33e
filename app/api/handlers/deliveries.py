"""Deliveries from the read model: lists, and one delivery with its attempts and its request."""

from __future__ import annotations

from collections.abc import Sequence

from app.api.contract.deliveries import AdviceOut, AttemptOut, DeliveryDetail, DeliveryOut, RequestOut, ResponseOut
from app.api.contract.fields import PageOut
from app.api.contract.webhooks import TestTiming
from app.api.handlers import delivery_filters, event_payloads
from app.api.handlers.webhooks import owned
from app.api.problems import ApiError, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import ConfigError, Defect, MalformedEvent, TransformFailed, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.timestamps import iso
from app.core.outcomes import outcome_of
from app.core.readmodel.rows import AttemptRow, DeliveryFilter, DeliveryRow

#: characters of a body that an answer shows
_SHOWN = 262_144
_HIDDEN = "(hidden)"
#: headers that we add ourselves and that hold no secret and no signature
_OPEN_HEADERS = frozenset(
    {
        "user-agent",
        "content-type",
        "webhook-id",
        "webhook-attempt",
        "webhook-sequence",
        "webhook-ordering-key",
        "webhook-replay",
        "webhook-event-type",
        "webhook-event-time",
        "traceparent",
        "webhook-timestamp",
        "svix-id",
        "svix-timestamp",
    }
)


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Deliveries of the key's tenant and mode, newest first."""
    return await _page(api, call, delivery_filters.of_query(api, call))


async def of_webhook(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Deliveries of one endpoint, newest first."""
    return await _page(api, call, delivery_filters.of_query(api, call, endpoint_id=owned(api, call).id))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One delivery with its attempts."""
    row = await owned_delivery(api, call)
    attempts = await api.reads.attempts(row.tenant, row.mode, row.id)
    request = await _request(api, row, attempts) if any(each.number for each in attempts) else None
    fields = {name: getattr(present_delivery(row), name) for name in DeliveryOut.__struct_fields__}
    detail = DeliveryDetail(**fields, attempts=[_attempt(each) for each in attempts], request=request)
    return ApiResponse(body=detail)


async def owned_delivery(api: ApiServices, call: ApiRequest) -> DeliveryRow:
    """The caller's delivery of that id; 404 for other tenants' deliveries."""
    id_ = call.path["id"]
    named = delivery_filters.is_name(id_)
    row = await api.reads.delivery(call.caller.tenant, call.caller.mode, id_) if named else None
    if row is None:
        raise not_found("delivery", id_)
    return row


async def _page(api: ApiServices, call: ApiRequest, which: DeliveryFilter) -> ApiResponse:
    try:
        page = await api.reads.deliveries(which, limit=call.limit(), cursor=call.query.get("cursor"))
    except ValueError as error:
        raise ApiError(400, "invalid_query", "cursor: use the value of next_cursor unchanged") from error
    return ApiResponse(body=PageOut(data=[present_delivery(row) for row in page.rows], next_cursor=page.cursor))


def present_delivery(row: DeliveryRow) -> DeliveryOut:
    """A delivery as the API shows it."""
    return DeliveryOut(
        id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        endpoint=row.endpoint_id,
        mode=row.mode,
        state=row.state,
        attempt_count=row.attempts,
        created_at=iso(row.created_at_ms),
        updated_at=iso(row.updated_at_ms),
        next_attempt_at=_iso(row.next_attempt_at_ms),
        status=row.status,
        result=row.result,
        error=row.error,
        hint=_hint(row),
        duration_ms=row.duration_ms,
        reason=row.reason,
        replay=row.replay_id,
        sequence=row.sequence,
        ordering_key=row.ordering_key,
    )


def _hint(row: DeliveryRow) -> AdviceOut | None:
    """What to do; where the delivery ended for another reason than its last attempt, about that reason."""
    if row.state == "delivered":
        return None
    if row.reason is not None and row.reason not in _OF_THE_LAST_ATTEMPT:
        return advice(row.reason, None) or advice(row.result, row.status)
    return advice(row.result, row.status)


#: reasons that say no more than that the last attempt failed
_OF_THE_LAST_ATTEMPT = frozenset(("exhausted", "gone"))


def advice(result: str | None, status: int | None) -> AdviceOut | None:
    """What to do about an outcome; None of a success, and where nothing is known."""
    outcome = outcome_of(result, status)
    return AdviceOut(what=outcome.what, do=outcome.do) if outcome is not None and result != "ok" else None


def _attempt(row: AttemptRow) -> AttemptOut:
    response = None
    if row.status is not None:
        response = ResponseOut(status=row.status, headers=dict(row.response_headers), body=row.response_body)
    return AttemptOut(
        number=row.number,
        trigger=row.trigger,
        state=row.state,
        started_at=iso(row.started_at_ms),
        duration_ms=row.duration_ms,
        timing=TestTiming(connect=row.connect_ms, first_byte=row.first_byte_ms, total=row.duration_ms),
        url=row.url,
        status=row.status,
        result=row.result,
        error=row.error,
        hint=advice(row.result, row.status),
        next_attempt_at=_iso(row.next_attempt_at_ms),
        response=response,
    )


async def _request(api: ApiServices, row: DeliveryRow, attempts: Sequence[AttemptRow]) -> RequestOut:
    last = next(each for each in reversed(attempts) if each.number)
    event = (await event_payloads.events_of(api, [row])).get(row.id)
    if event is None:
        note = event_payloads.UNKNOWN if row.source is None else event_payloads.GONE
        return RequestOut(method="POST", url=last.url, headers=None, body=None, body_note=note)
    endpoint = api.feed.directory.endpoint(row.endpoint_id)
    if endpoint is None:
        note = "the endpoint is removed, and with it the format that the body had"
        return RequestOut(method="POST", url=last.url, headers=None, body=None, body_note=note)
    return _rebuilt(api, row, endpoint, event, last)


def _rebuilt(api: ApiServices, row: DeliveryRow, endpoint: Endpoint, event: Event, last: AttemptRow) -> RequestOut:
    shown = event_payloads.shown_event(api, event)
    delivery = delivery_of(row, shown, attempts=last.number - 1)
    try:
        prepared = api.builder.prepared(endpoint, api.clock.now_ms())
        request = api.builder.request(delivery, endpoint, prepared, last.started_at_ms)
    except (ConfigError, Defect, Unrepresentable, MalformedEvent, TransformFailed) as error:
        return RequestOut(method="POST", url=last.url, headers=None, body=None, body_note=str(error))
    own = {name.lower() for name in endpoint.headers}
    headers = {name: value if name.lower() in _OPEN_HEADERS - own else _HIDDEN for name, value in request.headers}
    body = event_payloads.as_text(request.body)
    note = None if len(body) <= _SHOWN else f"the first {_SHOWN} of {len(body)} characters"
    if shown is not event:
        note = event_payloads.HAS_HIDDEN_FIELDS if note is None else f"{note}; {event_payloads.HAS_HIDDEN_FIELDS}"
    return RequestOut(method="POST", url=last.url, headers=headers, body=body[:_SHOWN], body_note=note)


def delivery_of(row: DeliveryRow, event: Event, *, attempts: int) -> Delivery:
    """The record of a delivery, rebuilt from its event."""
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        tenant=row.tenant,
        mode=row.mode,
        created_at=event.created_at,
        body=event.body,
        format=event.format,
        attributes=event.attributes,
        accepted_at_ms=row.created_at_ms,
        attempts=attempts,
        sequence=row.sequence,
        ordering_key=row.ordering_key,
        replay_id=row.replay_id or "",
        traceparent=event.traceparent,
        arrival=row.arrival,
        source=source_of(row),
        deliver_at_ms=event.deliver_at_ms,
        expires_at_ms=event.expires_at_ms,
    )


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def source_of(row: DeliveryRow) -> str | None:
    """The coordinates of the event, in the form of a delivery's record."""
    return None if row.source is None else f"{row.source[0]}:{row.source[1]}"
