"""A record of deliveries.pull, as dispatch appends it."""

from __future__ import annotations

from typing import Any

import msgspec

from app.core.model.delivery import Delivery
from app.core.records import delivery as delivery_record
from app.core.topics.names import TopicName
from tests.fakes.log import MemoryLog

_ONE = Delivery(
    id="",
    endpoint_id="",
    event_id="",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="2026-01-01T00:00:00Z",
    body=b"",
)


def append_pulled(log: MemoryLog, event_id: str, endpoint: str, body: bytes, *, partition: int, **fields: Any) -> None:
    """Append the delivery of an event to a pull endpoint; `fields` replace those of the delivery."""
    named = {"id": f"dlv_{event_id}", "endpoint_id": endpoint, "event_id": event_id, "body": body}
    delivery = msgspec.structs.replace(_ONE, **named | fields)
    headers = delivery_record.encode(delivery)
    log.put(TopicName.DELIVERIES_PULL, key=endpoint.encode(), value=body, headers=headers, partition=partition)
