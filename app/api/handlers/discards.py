"""Discard dead deliveries on request: they end as cancelled, and stay readable.

Rules of this file
- A discard is one record of `attempts` for each delivery, with a revision higher than any before: the read model then
  shows the delivery as cancelled, in whatever order it reads the records. A later retry has a higher revision still.
- A retry that was requested just before may be in progress: its success counts, because delivered is final.
- A dead delivery that blocks its ordering key is settled as cancelled, so that the next one of the key is released.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.api.contract.deliveries import BulkDiscardIn, BulkDiscardOut
from app.api.contract.fields import FieldError
from app.api.handlers import audit, delivery_filters
from app.api.handlers.deliveries import source_of
from app.api.problems import invalid
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow
from app.core.records import attempt, ordered
from app.core.records.attempt import DISCARDED, Attempt
from app.core.topics.names import TopicName


async def discard_many(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Discard all dead deliveries that match a filter, or count them."""
    body: BulkDiscardIn = call.body
    which = delivery_filters.of_body(api, call, body, ["dead"])
    if body.dry_run:
        number, more = await delivery_filters.counted(api, which)
        counted = BulkDiscardOut(dry_run=True, matched=number, matched_more=more, discarded=0, next_cursor=None)
        return ApiResponse(body=counted, transient=True)
    if body.why is None:
        raise invalid(FieldError(detail="why: say why they are not needed", pointer="/why"))
    return ApiResponse(body=await discard_those(api, which, why=body.why, limit=body.limit, cursor=body.cursor))


async def discard_those(
    api: ApiServices, which: DeliveryFilter, *, why: str, limit: int, cursor: str | None
) -> BulkDiscardOut:
    """Discard the deliveries that match a filter. Raises `ApiError` 422 for an invalid cursor."""
    rows, cursor = await delivery_filters.newest(api, which, limit=limit, cursor=cursor)
    if rows:
        after = {"filter": delivery_filters.given(which), "discarded": len(rows)}
        await audit.record(api, which, "deliveries.discard", "deliveries", detail=why, after=after)
        await _append(api, rows, why)
    return BulkDiscardOut(dry_run=False, matched=None, matched_more=False, discarded=len(rows), next_cursor=cursor)


async def _append(api: ApiServices, rows: Sequence[DeliveryRow], why: str) -> None:
    topic = api.topics.name(TopicName.ATTEMPTS)
    acks = []
    for row in rows:
        key, value = row.endpoint_id.encode(), attempt.encode(_discarded(api, row, why))
        acks.append(await api.log.append(topic, key=key, value=value, partition=api.partition_for(topic, key)))
    await asyncio.gather(*acks)
    topic, acks = api.topics.name(TopicName.DELIVERIES_ORDERED), []
    for row in rows:
        if row.arrival is not None and row.ordering_key is not None:
            key, headers = row.endpoint_id.encode(), ordered.settlement(row.arrival, "cancelled", row.ordering_key)
            partition = api.partition_for(topic, key)
            acks.append(await api.log.append(topic, key=key, value=None, headers=headers, partition=partition))
    await asyncio.gather(*acks)


def _discarded(api: ApiServices, row: DeliveryRow, why: str) -> Attempt:
    now_ms = api.clock.now_ms()
    last = api.feed.directory.revisions.get(row.id)
    return Attempt(
        delivery_id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        endpoint_id=row.endpoint_id,
        tenant=row.tenant,
        mode=row.mode,
        attempt=row.attempts,
        trigger="manual",
        state="cancelled",
        result=DISCARDED,
        started_at=iso(now_ms),
        duration_ms=0.0,
        error=f"discarded by {api.actor}: {why}",
        reason=DISCARDED,
        created_at=iso(row.created_at_ms),
        accepted_at_ms=row.created_at_ms,
        source=source_of(row),
        sequence=row.sequence,
        ordering_key=row.ordering_key,
        replay_id=row.replay_id,
        arrival=row.arrival,
        revision=max(now_ms, last.number + 1 if last else 0, row.updated_at_ms),
    )
