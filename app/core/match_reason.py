"""Why an endpoint received an event or did not, judged by the endpoint's current entry in the registry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from app.core.model.endpoint import Endpoint

MatchReason = Literal[
    "matched",
    "not_subscribed",
    "other_channels",
    "filtered",
    "created_later",
    "disabled",
    "paused",
    "duplicate",
    "rejected",
    "pending",
    "removed",
]

#: why fan-out dropped an event
DropReason = Literal["rejected", "duplicate"]

EXPLANATIONS: dict[MatchReason, str] = {
    "matched": "The endpoint subscribes to the event's type and has a delivery of the event.",
    "not_subscribed": "The endpoint does not subscribe to the event's type.",
    "other_channels": "The event carries none of the endpoint's channels.",
    "filtered": "The endpoint's filter refuses the event.",
    "created_later": "The endpoint was created after the event was accepted. A replay can deliver the event.",
    "disabled": "The endpoint was disabled when the event was accepted. Recovery or a replay can deliver the event.",
    "paused": "The endpoint was paused when the event was accepted. The event is delivered after it is resumed.",
    "duplicate": "The event was dropped as a duplicate: an event with the same idempotency key was accepted before.",
    "rejected": "The event was rejected: no endpoint receives it.",
    "pending": "The endpoint subscribes to the event's type. Its delivery has not been recorded yet.",
    "removed": "The endpoint was deleted after it had received the event.",
}


def why(
    endpoint: Endpoint,
    matched: Collection[str],
    *,
    at: tuple[int, int] | None,
    accepted_ms: int,
    dropped: DropReason | None = None,
    on_channel: bool = True,
    filtered: bool = False,
) -> MatchReason:
    """The reason for an endpoint without a delivery.

    `matched` has the ids of the endpoints that subscribe to the type now; `at` is the event's partition and offset in
    events.raw (None: unknown, then the endpoint's status decides); `dropped` is why fan-out dropped the event;
    `on_channel`: it carries a channel of the endpoint, or the endpoint has none; `filtered`: the endpoint's filter
    refuses it.
    """
    if dropped == "rejected":
        return "rejected"
    if endpoint.id not in matched:
        return "not_subscribed"
    if endpoint.created_at_ms > accepted_ms:
        return "created_later"
    if dropped is not None:
        return dropped
    if not on_channel:
        return "other_channels"
    if filtered:
        return "filtered"
    if at is None:
        return "pending" if endpoint.status == "active" else endpoint.status
    for suspension in reversed(endpoint.suspensions):
        if suspension.begin.get(at[0], 0) <= at[1] and (suspension.end is None or at[1] < suspension.end.get(at[0], 0)):
            return suspension.kind
    return "pending"
