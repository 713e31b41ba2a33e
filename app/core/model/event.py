"""Events as they are after fan-out has read them."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["live", "test"]
#: how `Delivery.body` is written: our JSON, a structured CloudEvent, or the bare data of a binary CloudEvent
EventFormat = Literal["native", "ce-structured", "ce-binary"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One record of events.raw, understood."""

    #: the producer's id, or one derived from the record's coordinates
    id: str
    type: str
    tenant: str
    mode: Mode
    #: ISO 8601, as the producer gave it, or the record's timestamp
    created_at: str
    #: the record's value, byte for byte
    body: bytes
    format: EventFormat
    #: what makes two records the same event within the TTL; None: nothing but the record itself
    idempotency_key: str | None = None
    ordering_key: str | None = None
    traceparent: str | None = None
