"""Events, decoded from records of events.raw."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["live", "test"]
#: the format of a record's value: native JSON, a structured CloudEvent, or the bare data of a binary CloudEvent
EventFormat = Literal["native", "ce-structured", "ce-binary"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The event of one record of events.raw."""

    #: the producer's id, or one derived from the record's coordinates
    id: str
    type: str
    tenant: str
    mode: Mode
    #: ISO 8601, from the producer, or the record's timestamp
    created_at: str
    #: the record's value, byte for byte
    body: bytes
    format: EventFormat
    #: two records with the same key are one event within the idempotency window; None: each record is an event
    idempotency_key: str | None = None
    ordering_key: str | None = None
    traceparent: str | None = None
    #: endpoints with channels receive it if it carries one of theirs
    channels: tuple[str, ...] = ()
    #: the person whom the data is about, as the producer names them; None: it names none
    subject: str | None = None
    #: no attempt before it, in milliseconds since the epoch; None: at once
    deliver_at_ms: int | None = None
    #: no attempt from then on, in milliseconds since the epoch; None: it does not expire
    expires_at_ms: int | None = None
    #: further attributes of a binary CloudEvent, which are not in the record's value, as a JSON object of texts
    attributes: str | None = None
