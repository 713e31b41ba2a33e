"""When the next attempt may take place, and through which rung it waits.

Policy and jitter are apart: `delay_s` is the table's number, `due_at_ms` adds chance, `Retry-After` and the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

#: Retry-After is believed up to one day (DESIGN section 7)
RETRY_AFTER_CAP_S = 86_400.0
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
    """Seconds that a Retry-After header asks for (a number of seconds or an HTTP date); None: absent or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_CAP_S) if len(text) < 10 else RETRY_AFTER_CAP_S
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)  # RFC 9110: in HTTP every date is GMT
        return min(max(0.0, moment.timestamp() - now_ms / 1000), RETRY_AFTER_CAP_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def rung_for(wait_s: float, rungs: Sequence[tuple[str, float]]) -> str:
    """The rung for a record that is due in `wait_s`: the longest that is not longer, else the shortest.

    So a record never waits in a rung past its due time, and any due time is a walk down the ladder.
    """
    chosen = rungs[0][0]
    for name, seconds in rungs:
        if seconds > wait_s:
            break
        chosen = name
    return chosen
