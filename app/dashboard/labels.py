"""The labels of codes: outcomes of attempts, states, changes, durations."""

from __future__ import annotations

from app.core.outcomes import outcome_of

#: what a page says above itself after a form was sent; the address carries only the key
DONE = {
    "paused": "Paused. Deliveries are parked until you resume.",
    "resumed": "Resumed. Parked deliveries are delivered first.",
    "enabled": "Enabled. Events are delivered from now on.",
    "disabled": "Disabled. Events are not delivered until you enable the endpoint.",
    "verified": "Verified. Events are delivered from now on, parked deliveries first.",
    "deleted": "Deleted. Deliveries under way are cancelled.",
    "saved": "Saved.",
    "tenant_deleted": "The tenant is deleted, with all that it had.",
    "type_deleted": "Deleted. Events of the type are still accepted and delivered.",
    "key_rotated": "The signing key is replaced: give receivers the new public key before the earlier one ends.",
    "recovering": "Recovery has started: the missed events are being delivered.",
    "replaying": "The replay has started.",
    "sent": "The event was appended. It is delivered to every endpoint that subscribes to its type.",
    "retried": "One more attempt was requested.",
    "cancelled": "Cancelled.",
    "revoked": "Revoked. Requests with the key are refused from now on.",
    "redriven": "Dead deliveries are being delivered again.",
}

_CHANGES = {
    "endpoint.create": "created the endpoint",
    "endpoint.update": "changed the endpoint",
    "endpoint.remove": "deleted the endpoint",
    "endpoint.suspend": "suspended the endpoint",
    "endpoint.reactivate": "activated the endpoint",
    "endpoint.close-suspension": "recorded the end of a suspension",
    "endpoint.recover": "recovered missed events",
    "endpoint.rotate": "rotated the secret",
    "endpoint.rotate-key": "rotated the signing key",
    "endpoint.handshake": "asked the receiver whether it agrees to deliveries",
    "tenant.put": "saved the tenant",
    "key.create": "created a key",
    "key.revoke": "revoked a key",
    "type.put": "saved the event type",
    "type.remove": "removed the event type",
    "replay.create": "started a replay",
    "replay.pause": "paused a replay",
    "replay.resume": "resumed a replay",
    "replay.cancel": "cancelled a replay",
    "endpoint.test": "sent a test to the endpoint",
    "delivery.retry": "retried a delivery",
    "delivery.cancel": "cancelled a delivery",
    "deliveries.retry": "retried deliveries",
    "deliveries.discard": "discarded dead deliveries",
    "event.send": "sent an event",
    "portal-link.create": "created a portal link",
    "ordering.skip": "skipped a dead delivery of an ordering key",
    "ordering.drop": "dropped the waiting deliveries of an ordering key",
    "tenant.unsubscribe": "unsubscribed an address",
}


def outcome(result: str | None, status: int | None = None) -> tuple[str, str]:
    """What happened in a few words, and what to do about it."""
    explained = outcome_of(result, status)
    if explained is None:
        return "" if result is None else _spelled(result), ""
    return explained.name, explained.do


def outcome_name(result: str, status: int | None = None) -> str:
    """What happened, in a few words."""
    return outcome(result, status)[0]


def _spelled(word: str) -> str:
    return word.replace("_", " ").capitalize()


def change(action: str) -> str:
    """The label of a change in the audit log."""
    return _CHANGES.get(action, action)


def number(value: int | float) -> str:
    """A number with commas between groups of three digits."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """A share as a percentage; below 100 % it is never rounded up to 100 %."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent == 100 or percent < 99 else f"{min(percent, 99.9):.1f} %"


def duration(ms: float | None) -> str:
    """A duration in milliseconds as text, such as `3 min`."""
    if ms is None:
        return "–"
    for limit, divisor, unit in (
        (1000, 1, "ms"),
        (60_000, 1000, "s"),
        (3_600_000, 60_000, "min"),
        (86_400_000, 3_600_000, "h"),
    ):
        if ms < limit:
            value = ms / divisor
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{ms / 86_400_000:.1f} d"
