"""When an event may be delivered: not before `deliver_at`, and no longer after `expires_at`.

Both are compared with the timestamp of the event's record, so the same record always gives the same answer.
"""

from __future__ import annotations

from datetime import datetime

from app.core import limits
from app.core.errors import MalformedEvent
from app.core.model.timestamps import iso, milliseconds, timestamp

_DAYS = limits.DELIVER_AHEAD_S / 86_400


def delivery_window(
    deliver_at: str | None, expires_at: str | None, accepted_at_ms: int
) -> tuple[int | None, int | None]:
    """The begin and the end in milliseconds since the epoch; None: there is none.

    Raises `MalformedEvent`, reason `bad_deliver_at` or `bad_expires_at`, also when the begin is too far ahead or the
    end is not after the begin. Either may be in the past.
    """
    begin_ms = end_ms = None
    if deliver_at is not None:
        begin_ms = _milliseconds("deliver_at", deliver_at)
        if begin_ms - accepted_at_ms > limits.DELIVER_AHEAD_S * 1000:
            detail = f"deliver_at {deliver_at!r} is more than {_DAYS:g} days after the event, of {iso(accepted_at_ms)}"
            raise MalformedEvent("bad_deliver_at", detail)
    if expires_at is not None:
        end_ms = _milliseconds("expires_at", expires_at)
        if begin_ms is not None and end_ms <= begin_ms:
            detail = f"expires_at {expires_at!r} is not after deliver_at {deliver_at!r}: nothing could be delivered"
            raise MalformedEvent("bad_expires_at", detail)
    return begin_ms, end_ms


def point_in_time(name: str, text: str) -> datetime:
    """The time in a field of an event. Raises `MalformedEvent` with a reason that begins with `bad_`."""
    try:
        return timestamp(text)
    except ValueError as error:
        raise MalformedEvent(f"bad_{name}", f"{name} {error}") from error


def _milliseconds(name: str, text: str) -> int:
    at = point_in_time(name, text)
    rest = name == "deliver_at" and at.microsecond % 1000 > 0  # not a moment too early
    return milliseconds(at) + rest
