"""The records of `attempts`: one for each request, and for each delivery that ended without one."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.http_exchange import NOT_SENT

#: what the attempt made of its delivery
AttemptState = Literal["delivered", "retrying", "dead", "cancelled"]
#: the reason of a failed attempt that decides nothing (`reassigned`)
REASSIGNED = "reassigned"
#: the reason of a delivery that ended because a later one of its line was let go
SUPERSEDED = "superseded"
#: what an attempt record keeps of a response's body: so many bytes of it, as a text of so many bytes in JSON
BODY_KEPT = 2048
#: what of a response did not fit
Cut = Literal["error", "headers", "body", "record"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of `attempts` (schemas/records/attempts.v1.json)."""

    delivery_id: str
    event_id: str
    event_type: str
    endpoint_id: str
    tenant: str
    mode: str
    #: from 1, never reset; 0: the delivery ended before any request
    attempt: int
    #: first | retry | replay | manual | test: why this attempt was made
    trigger: str
    #: what became of the delivery: delivered | retrying | dead | cancelled
    state: AttemptState
    #: the outcome as a closed word: ok | http_5xx | timeout | refused | … ; for cancelled and dead ones without a
    #: request: the reason
    result: str
    #: ISO 8601, UTC
    started_at: str
    duration_ms: float
    profile: str = ""
    url: str = ""
    #: HTTP status; absent when no status line arrived
    status: int | None = None
    #: why it failed, in one sentence
    error: str | None = None
    #: why the delivery is dead or cancelled; reassigned: another copy of it goes on, and decides
    reason: str | None = None
    #: ISO 8601; present while state is retrying, unless it was reassigned
    next_attempt_at: str | None = None
    connect_ms: float = 0.0
    first_byte_ms: float = 0.0
    response_headers: dict[str, str] | None = None
    #: the beginning of the response's body, as text
    response_body: str | None = None
    #: what was cut to fit: error | headers | body; record: everything of the receiver was left out
    cut: tuple[Cut, ...] = ()
    #: what is odd about the response, in sentences
    remarks: tuple[str, ...] = ()
    #: from the append of the event to the end of this attempt
    latency_ms: int = 0
    created_at: str = ""
    #: when the event was appended to events.raw, milliseconds since the epoch
    accepted_at_ms: int = 0
    #: where the event is in events.raw: `<partition>:<offset>`
    source: str | None = None
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str | None = None
    #: the offset of its arrival in deliveries.ordered; absent: it was not ordered
    arrival: int | None = None
    #: what was asked of the delivery by then; 0: nothing ever was
    revision: int = 0

    @property
    def made_a_request(self) -> bool:
        """Not so of a delivery that ended without one, whose result is the reason, or whose request cannot be built."""
        return self.result not in (self.reason, NOT_SENT)
