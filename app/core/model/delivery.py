"""One event on its way to one endpoint."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.event import EventFormat, Mode


class DeliveryRevision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was last asked of a delivery that waited somewhere; the value of `revision/<delivery id>` in registry.

    Its copies of earlier revisions are passed over, wherever they wait (core/supersession.py).
    """

    #: the delivery's
    id: str
    #: grows: the time of the request, in milliseconds
    number: int
    #: copies of earlier revisions end as cancelled, since no copy of this revision says so itself
    cancel: bool = False
    #: where the delivery's event is in events.raw, as its record says it; None: nobody knows
    source: str | None = None


#: what somebody wants of a delivery: an attempt at once, or its end
ManualAction = Literal["retry", "cancel"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint, on its way; a record of `deliveries` and of its delay topics."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    tenant: str
    mode: Mode
    created_at: str
    #: the event's record value, byte for byte
    body: bytes
    format: EventFormat = "native"
    #: when the event was appended to events.raw
    accepted_at_ms: int = 0
    #: attempts made so far
    attempts: int = 0
    #: not before that time; 0: at once
    due_at_ms: int = 0
    #: since when it waits for its next attempt, which its endpoint could not take; 0: it does not
    waiting_since_ms: int = 0
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str = ""
    traceparent: str | None = None
    #: the offset of its arrival in deliveries.ordered; None: it was not ordered
    arrival: int | None = None
    #: the offset of the record in deliveries.ordered that let it go; grows within its line. None: it was not ordered
    released: int | None = None
    #: counts up with what is asked of it; 0: nothing ever was
    revision: int = 0
    #: what this copy was made for; None: the ordinary way, or the retries after a request
    manual: ManualAction | None = None
    #: where its event is in events.raw: `<partition>:<offset>`; None: nobody knows
    source: str | None = None
    #: bytes of the event that a topic did not take; 0: it is whole
    omitted: int = 0
