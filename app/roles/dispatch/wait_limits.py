"""How long a delivery may wait for its next attempt: every wait has an end.

The clock starts when dispatch defers a delivery for the first time since its last attempt, or since it was appended.
A replay, a resume and a manual retry restart it. The start time travels with the delivery.
"""

from __future__ import annotations

from collections.abc import Sequence

#: the longest wait for one attempt. Topics retain waiting deliveries for 14 days, and a schedule's delay may take 7
MAX_WAIT_MS = 6 * 86_400_000


def wait_limit_ms(schedule_s: Sequence[float], *, scale: float, least_ms: int) -> int:
    """How long a delivery may wait for one attempt: the length of its schedule, and at least `least_ms`."""
    return min(MAX_WAIT_MS, max(least_ms, round(sum(schedule_s) * scale * 1000)))


def next_look_ms(until_ms: int, since_ms: int, limit_ms: int, now_ms: int) -> int | None:
    """When a delivery that waits since `since_ms`, and could be sent at `until_ms`, returns; None: it ends now."""
    last_ms = since_ms + limit_ms
    return None if now_ms >= last_ms else min(until_ms, last_ms)
