"""How long a delivery waits for its next attempt: nothing waits without an end.

The clock starts when dispatch puts a delivery off for the first time since its last attempt, or since it was handed
over: a replay, a resume and a retry on request start it anew. It travels with the delivery.
"""

from __future__ import annotations

from collections.abc import Sequence

#: no delivery waits longer for one attempt: topics keep what waits for 14 days, and a delay of a schedule has 7
MOST_MS = 6 * 86_400_000


def limit_ms(schedule_s: Sequence[float], *, scale: float, least_ms: int) -> int:
    """For how long a delivery may wait for one attempt: as long as its schedule is, at least `least_ms`."""
    return min(MOST_MS, max(least_ms, round(sum(schedule_s) * scale * 1000)))


def due_ms(until_ms: int, since_ms: int, limit: int, now_ms: int) -> int | None:
    """When a delivery that waits since `since_ms` and could be taken at `until_ms` comes back; None: it ends now."""
    last_ms = since_ms + limit
    return None if now_ms >= last_ms else min(until_ms, last_ms)
