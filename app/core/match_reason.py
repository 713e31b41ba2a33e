"""Why an endpoint got an event or did not, judged by what the registry says of the endpoint now."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from app.core.model.endpoint import Endpoint

MatchReason = Literal[
    "matched", "not_subscribed", "created_later", "disabled", "paused", "duplicate", "pending", "removed"
]

EXPLANATIONS: dict[MatchReason, str] = {
    "matched": "It is subscribed to the event's type: there is a delivery.",
    "not_subscribed": "Its subscription does not include the event's type.",
    "created_later": "It was registered after the event was accepted; a replay can deliver it.",
    "disabled": "It was disabled when the event came; recover or a replay can deliver it.",
    "paused": "It was paused when the event came: the event follows after the resume.",
    "duplicate": "The event was dropped, since its idempotency key had been seen before.",
    "pending": "It is subscribed to the event's type, and nothing is known of an attempt yet.",
    "removed": "The endpoint was removed after it got the event.",
}


def why(
    endpoint: Endpoint, matched: Collection[str], *, at: tuple[int, int] | None, accepted_ms: int, duplicate: bool
) -> MatchReason:
    """Of an endpoint without a delivery. `matched` has the ids of those whose subscription includes the type now; `at`
    is the event's partition and offset in events.raw (None: not known, then the
    endpoint's status decides).
    """
    if endpoint.id not in matched:
        return "not_subscribed"
    if endpoint.created_at_ms > accepted_ms:
        return "created_later"
    if duplicate:
        return "duplicate"
    if at is None:
        return "pending" if endpoint.status == "active" else endpoint.status
    for suspension in reversed(endpoint.suspensions):
        if suspension.begin.get(at[0], 0) <= at[1] and (suspension.end is None or at[1] < suspension.end.get(at[0], 0)):
            return suspension.kind
    return "pending"
