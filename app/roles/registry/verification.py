"""What a missing agreement of a receiver does to its endpoint, and what a handshake changes.

An unverified endpoint is paused in the registry, so that every role parks its deliveries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.core import limits
from app.core.errors import CommandRefused
from app.core.model.clipping import clip
from app.core.model.endpoint import Endpoint, Suspension, Unverified
from app.core.records.command import RecordHandshake
from app.roles.registry.suspensions import bounded

#: handshakes are counted in spans of this length
HOUR_MS = 3_600_000
_WAITS = "Unverified: the receiver has not agreed to deliveries yet."
_NOT_NEEDED = "Paused: it was unverified, and need not be verified any more. Resume it."


def require_agreement(
    fresh: Endpoint, old: Endpoint | None, begin: Mapping[int, int], dead_begin: int, now_ms: int
) -> Endpoint:
    """The endpoint after a change from `old`: unverified if its receiver has to agree, or to agree again.

    `begin` and `dead_begin` are those of a pause that begins now.
    """
    if fresh.verification == "none":
        if fresh.unverified is None and fresh.request_origin is None:
            return fresh
        reason = _NOT_NEEDED if fresh.shown_status == "unverified" else fresh.status_reason
        return msgspec.structs.replace(fresh, unverified=None, request_origin=None, status_reason=reason)
    if old is not None and (old.url, old.verification) == (fresh.url, fresh.verification):
        return fresh
    earlier, paused = fresh.unverified, dict[str, Any]()
    if fresh.status == "active":
        suspension = Suspension(kind="paused", since_ms=now_ms, begin=dict(begin), dead_begin=dead_begin)
        paused = {
            "status": "paused",
            "status_reason": _WAITS,
            "suspensions": bounded((*fresh.suspensions, suspension)),
        }
    mark = Unverified(
        version=fresh.version,
        since_ms=now_ms,
        resumes=bool(paused) or (earlier is not None and earlier.resumes),
        attempts=earlier.attempts if earlier is not None else 0,
        counted_from_ms=earlier.counted_from_ms if earlier is not None else now_ms,
    )
    return msgspec.structs.replace(fresh, unverified=mark, request_origin=None, **paused)


def refuse_unverified(endpoint: Endpoint) -> None:
    """Raise `CommandRefused` if the endpoint may not become active."""
    if endpoint.unverified is not None:
        raise CommandRefused("unverified", f"endpoint {endpoint.id} is unverified: verify it first")


def stay_paused(endpoint: Endpoint) -> Endpoint | None:
    """The unverified endpoint that remains paused once its receiver has agreed; None: no change."""
    mark = endpoint.unverified
    if mark is None or not mark.resumes:
        return None
    return msgspec.structs.replace(endpoint, unverified=msgspec.structs.replace(mark, resumes=False))


def failed(endpoint: Endpoint, mark: Unverified, action: RecordHandshake, now_ms: int) -> Endpoint:
    """The endpoint after a handshake without an agreement. Its version stays, since its settings do."""
    same_hour = now_ms - mark.counted_from_ms < HOUR_MS
    counted = msgspec.structs.replace(
        mark,
        attempts=mark.attempts + 1 if same_hour else 1,
        counted_from_ms=mark.counted_from_ms if same_hour else now_ms,
        last_at_ms=now_ms,
        last_result=clip(action.result, limits.ID),
        last_error=clip(action.error, limits.DESCRIPTION) if action.error is not None else None,
    )
    return msgspec.structs.replace(endpoint, unverified=counted)


def agreed_fields(endpoint: Endpoint, action: RecordHandshake) -> dict[str, Any]:
    """The fields that the receiver's agreement changes, its status aside. The rate is only ever lowered."""
    fields: dict[str, Any] = {"unverified": None, "request_origin": action.origin}
    if action.rate_limit is not None:
        rate = min(max(action.rate_limit, limits.RATE[0]), limits.RATE[1])
        fields["rate_limit"] = rate if endpoint.rate_limit is None else min(rate, endpoint.rate_limit)
    return fields
