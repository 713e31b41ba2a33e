"""The records of `attempts`: one for each request, and one for each delivery that ended without a request.

The key is the endpoint's id, the value is JSON (schemas/records/attempts.v1.json).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.http_exchange import NOT_SENT

#: the state of the delivery after the attempt
AttemptState = Literal["delivered", "retrying", "dead", "cancelled"]
#: the reason of a failed attempt that does not decide: another copy of the delivery goes on
REASSIGNED = "reassigned"
#: the reason of a delivery that ended because a later one of its key queue has been released
SUPERSEDED = "superseded"
#: the result of a delivery to a pull endpoint, once it is in the endpoint's log
AVAILABLE = "available"
#: result and reason of a dead delivery that was discarded on request; such a record ends as cancelled
DISCARDED = "discarded"
#: result and reason of a dead delivery whose subject was erased
ERASED = "erased"
#: reason of a dead delivery whose event has expired; its endpoint is not to blame for it
EXPIRED = "expired"
#: bytes of a response body that an attempt record may have, raw and as JSON
BODY_LIMIT = 2048
#: which part of a response was cut to fit
Cut = Literal["error", "headers", "body", "record"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of `attempts`."""

    delivery_id: str
    event_id: str
    event_type: str
    endpoint_id: str
    tenant: str
    mode: str
    #: the number of the attempt, from 1, never reset; 0: the delivery ended before any request
    attempt: int
    #: why the attempt was made: first | retry | replay | manual | test
    trigger: str
    #: the state of the delivery after the attempt: delivered | retrying | dead | cancelled
    state: AttemptState
    #: the outcome as one word: ok | http_5xx | timeout | refused | …; of a delivery that ended without a request: the
    #: reason
    result: str
    #: when the attempt began, ISO 8601 in UTC
    started_at: str
    duration_ms: float
    profile: str = ""
    url: str = ""
    #: HTTP status; absent when no status line arrived
    status: int | None = None
    #: why the attempt failed, in one sentence
    error: str | None = None
    #: why the delivery is dead or cancelled; reassigned: another copy of the delivery goes on and decides
    reason: str | None = None
    #: when the next attempt is due, ISO 8601; present if the state is retrying, unless the reason is reassigned
    next_attempt_at: str | None = None
    connect_ms: float = 0.0
    first_byte_ms: float = 0.0
    response_headers: dict[str, str] | None = None
    #: the beginning of the response body, as text
    response_body: str | None = None
    #: which parts were cut to fit: error | headers | body; record: everything from the receiver was left out
    cut: tuple[Cut, ...] = ()
    #: sentences about unusual properties of the response
    remarks: tuple[str, ...] = ()
    #: from the append of the event to the end of this attempt, in milliseconds
    latency_ms: int = 0
    #: the event's `created_at`
    created_at: str = ""
    #: when the event was appended to events.raw, in milliseconds since the epoch
    accepted_at_ms: int = 0
    #: the event's coordinates in events.raw: `<partition>:<offset>`
    source: str | None = None
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str | None = None
    #: the offset of the delivery's arrival in deliveries.ordered; absent: it is not ordered
    arrival: int | None = None
    #: the delivery's revision, which grows with each manual action; 0: there was none
    revision: int = 0

    @property
    def made_a_request(self) -> bool:
        """Whether a request was sent: not if the delivery ended without one, or the request could not be built."""
        return self.result not in (self.reason, NOT_SENT)


_encoder = msgspec.json.Encoder()


def encode(attempt: Attempt) -> bytes:
    """Return the value of the record."""
    return _encoder.encode(attempt)
