"""Retry and cancel deliveries on request: the records appended for it, and when it is refused (rules in
core/supersession.py)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from app.api.contract.deliveries import BulkRetryIn, BulkRetryOut, ManualActionOut
from app.api.handlers import audit, delivery_filters, event_payloads
from app.api.handlers.deliveries import delivery_of, owned_delivery, source_of
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core import supersession
from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.model.event import Event
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow
from app.core.records import delivery
from app.core.records.command import SupersedeDeliveries
from app.core.topics.names import TopicName

_WAITING = ("pending", "retrying")
RetryRefusal = Literal[
    "endpoint_removed",
    "endpoint_disabled",
    "endpoint_paused",
    "paused",
    "in_line",
    "event_gone",
    "ended",
    "scheduled",
    "expired",
]
_WHY: dict[RetryRefusal, str] = {
    "endpoint_removed": "the endpoint is removed: register it again and replay the event",
    "endpoint_disabled": "the endpoint is disabled: enable it first",
    "endpoint_paused": "the endpoint is paused: resume it first",
    "paused": "the delivery is kept for the endpoint's resume, which delivers it",
    "in_line": "the delivery waits in line behind others of its ordering key, and its turn comes by itself",
    "event_gone": "Kafka keeps the event no longer",
    "ended": "the delivery has ended",
    "scheduled": "its event is for later; a retry of this delivery alone sends it at once",
    "expired": "its event has expired; a retry of this delivery alone sends it",
}


async def retry(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Retry a delivery at once, whatever its state."""
    row = await owned_delivery(api, call)
    refusal = _refusal(api, row)
    if refusal is None:
        await audit.record(api, row, "delivery.retry", f"delivery/{row.id}", before={"state": row.state})
    refusal = refusal or (await _retried(api, [row])).get(row.id)
    if refusal is not None:
        raise ApiError(409, refusal, _WHY[refusal])
    return ApiResponse(body=ManualActionOut(id=row.id, asked="retry", was=row.state, attempt=row.attempts + 1))


async def retry_many(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Retry all deliveries that match a filter, or count them."""
    body: BulkRetryIn = call.body
    which = delivery_filters.of_body(api, call, body, body.state)
    if body.dry_run:
        number, more = await delivery_filters.counted(api, which)
        counted = BulkRetryOut(dry_run=True, matched=number, matched_more=more, retried=0, skipped={}, next_cursor=None)
        return ApiResponse(body=counted, transient=True)
    return ApiResponse(body=await retry_those(api, which, limit=body.limit, cursor=body.cursor))


async def retry_those(api: ApiServices, which: DeliveryFilter, *, limit: int, cursor: str | None) -> BulkRetryOut:
    """Retry the deliveries that match a filter. Raises `ApiError` 422 for an invalid cursor."""
    asked = delivery_filters.given(which)
    await audit.record(api, which, "deliveries.retry", "deliveries", detail=f"at most {limit}", after={"filter": asked})
    rows, cursor = await delivery_filters.newest(api, which, limit=limit, cursor=cursor)
    refusals = {row.id: refusal for row in rows if (refusal := _refusal(api, row)) is not None}
    refusals |= await _retried(api, [row for row in rows if row.id not in refusals], in_time=True)
    return BulkRetryOut(
        dry_run=False,
        matched=None,
        matched_more=False,
        retried=len(rows) - len(refusals),
        skipped=dict(Counter(refusals.values())),
        next_cursor=cursor,
    )


async def cancel(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Cancel a waiting delivery. A request in flight is not aborted, and its outcome counts."""
    row = await owned_delivery(api, call)
    if row.state == "paused":
        raise ApiError(409, "paused", _WHY["paused"])
    if row.state not in _WAITING:
        raise ApiError(409, "ended", f"the delivery has ended as {row.state}")
    await audit.record(api, row, "delivery.cancel", f"delivery/{row.id}", before={"state": row.state})
    revision = _revision(api, row)
    endpoint = api.feed.directory.endpoint(row.endpoint_id)
    is_ordered = row.ordering_key is not None and (endpoint is None or endpoint.ordering == "fifo")
    if is_ordered and row.arrival is None:  # its line alone knows its place, and brings it out
        await api.command(
            SupersedeDeliveries([DeliveryRevision(id=row.id, number=revision, cancel=True, source=source_of(row))]),
            row.endpoint_id,
        )
    else:
        await _append(api, [_ending(row, revision)])
        await api.command(
            SupersedeDeliveries([DeliveryRevision(id=row.id, number=revision, source=source_of(row))]), row.endpoint_id
        )
    return ApiResponse(body=ManualActionOut(id=row.id, asked="cancel", was=row.state, attempt=None))


def _refusal(api: ApiServices, row: DeliveryRow) -> RetryRefusal | None:
    endpoint = api.feed.directory.endpoint(row.endpoint_id)
    if endpoint is None:
        return "endpoint_removed"
    if endpoint.status != "active":
        return "endpoint_disabled" if endpoint.status == "disabled" else "endpoint_paused"
    if row.state == "paused":
        return "paused"
    ordered = endpoint.ordering == "fifo" and row.ordering_key is not None
    return "in_line" if ordered and row.state in _WAITING and row.arrival is None else None


async def _retried(api: ApiServices, rows: Sequence[DeliveryRow], *, in_time: bool = False) -> dict[str, RetryRefusal]:
    """Append a copy of each delivery. Returns the failed ones with the reason, such as a deleted event.

    `in_time`: leave out those whose events are for later or have expired.
    """
    events = await event_payloads.events_of(api, rows)
    copies: list[Delivery] = []
    refusals: dict[str, RetryRefusal] = {}
    waiting: list[DeliveryRevision] = []
    for row in rows:
        delivery = _copy(api, row, events[row.id]) if row.id in events else None
        if delivery is None and row.state == "dead":
            delivery = await event_payloads.parked_delivery(api, row)
        if delivery is None:
            refusals[row.id] = "event_gone"
            continue
        untimely = _untimely(delivery, api.clock.now_ms()) if in_time else None
        if untimely is not None:
            refusals[row.id] = untimely
            continue
        revision = _revision(api, row)
        copies.append(msgspec.structs.replace(delivery, revision=revision, manual="retry", due_at_ms=0))
        if row.state in _WAITING:
            waiting.append(DeliveryRevision(id=row.id, number=revision, source=source_of(row)))
    await _append(api, copies)
    for begin in range(0, len(waiting), supersession.MAX_AT_ONCE):
        await api.command(SupersedeDeliveries(waiting[begin : begin + supersession.MAX_AT_ONCE]), rows[0].endpoint_id)
    return refusals


def _copy(api: ApiServices, row: DeliveryRow, event: Event) -> Delivery:
    """The delivery of an event, sealed if the event has a subject."""
    copy = delivery_of(row, event, attempts=row.attempts)
    if event.subject is None:
        return copy
    body, leaf = api.subjects.seal(event, row.created_at_ms)
    return msgspec.structs.replace(copy, body=body, sealed=leaf)


def _untimely(delivery: Delivery, now_ms: int) -> RetryRefusal | None:
    if delivery.expires_at_ms is not None and now_ms >= delivery.expires_at_ms:
        return "expired"
    return "scheduled" if delivery.deliver_at_ms is not None and now_ms < delivery.deliver_at_ms else None


async def _append(api: ApiServices, copies: Sequence[Delivery]) -> None:
    topic = api.topics.name(TopicName.DELIVERIES)
    position = ("registry-position", b"%d" % api.feed.position)
    acks = []
    for copy in copies:
        key = copy.endpoint_id.encode()
        acks.append(
            await api.log.append(
                topic,
                key=key,
                value=copy.body,
                headers=[*delivery.encode(copy), position],
                partition=api.partition_for(topic, key),
            )
        )
    await asyncio.gather(*acks)


def _revision(api: ApiServices, row: DeliveryRow) -> int:
    last = api.feed.directory.revisions.get(row.id)
    return max(api.clock.now_ms(), last.number + 1 if last else 0, row.updated_at_ms)


def _ending(row: DeliveryRow, revision: int) -> Delivery:
    """The copy that cancels a delivery. It is not sent, and so has no body."""
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        tenant=row.tenant,
        mode=row.mode,
        created_at=iso(row.created_at_ms),
        body=b"",
        accepted_at_ms=row.created_at_ms,
        attempts=row.attempts,
        sequence=row.sequence,
        ordering_key=row.ordering_key,
        replay_id=row.replay_id or "",
        arrival=row.arrival,
        source=source_of(row),
        revision=revision,
        manual="cancel",
    )
