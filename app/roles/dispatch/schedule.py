"""When the next attempt may take place, and through which rung it waits.

Policy and jitter are apart: `delay_s` is the table's number, `due_at_ms` adds chance, `Retry-After` and the scale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Retry-After is believed up to one day (DESIGN section 7)
RETRY_AFTER_CAP_S = 86_400.0
_SECONDS = re.compile(r"\+?[0-9]+(\.[0-9]*)?")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]{5,18}([Zz]|[+-][0-9]{2}:?[0-9]{2})", re.ASCII)
#: jitter is 0…+10 % of the delay: never early
JITTER = 0.1


def delay_s(schedule_s: Sequence[float], attempts: int) -> float | None:
    """Seconds to wait after `attempts` attempts were made; None: the schedule is exhausted."""
    return schedule_s[attempts] if attempts < len(schedule_s) else None


def due_at_ms(now_ms: int, delay: float, *, scale: float, dice: float, retry_after_s: float | None = None) -> int:
    """The due time after a failure at `now_ms`.

    The schedule's delay is multiplied by `scale` (HOOKSTREAM_TIME_SCALE); a receiver's Retry-After is not, and can
    only push the attempt later.
    """
    wait = max(delay * scale, min(retry_after_s or 0.0, RETRY_AFTER_CAP_S))
    return now_ms + round(wait * (1 + JITTER * dice) * 1000)


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Seconds that a Retry-After header asks for; None: it is absent, or cannot be understood.

    Beyond RFC 9110 (whole seconds, or an HTTP date) what can mean one thing only is honoured, too: `60.5`, `+60`, and
    an ISO 8601 time with a zone.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text[:20]), RETRY_AFTER_CAP_S) if text.isascii() else None
    try:
        moment = _moment(text)
        return None if moment is None else min(max(0.0, moment.timestamp() - now_ms / 1000), RETRY_AFTER_CAP_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _moment(text: str) -> datetime | None:
    if _ISO.fullmatch(text):
        return datetime.fromisoformat(text.upper())
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)  # RFC 9110: every date in HTTP is GMT
