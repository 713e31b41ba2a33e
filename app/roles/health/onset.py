"""When the clock of a rule in days starts: after how many failed deliveries, spread over how long."""

from __future__ import annotations

import msgspec

from app.profiles.policy import DisableRule

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: of failures closer together than this, one is remembered
_APART_MS = HOUR_MS // 2


class FailedAttempt(msgspec.Struct, frozen=True, array_like=True):
    """A failed attempt that may start a clock."""

    at_ms: int
    #: the end of the delivery's id
    delivery: str


def begins(
    rule: DisableRule, onset: tuple[FailedAttempt, ...], failure: FailedAttempt
) -> tuple[tuple[FailedAttempt, ...], int]:
    """Count another failure. Returns the failures that may start the clock, and when it started (0: not yet)."""
    window_ms = None if rule.onset_window_h is None else rule.onset_window_h * HOUR_MS
    seen = tuple(each for each in onset if window_ms is None or failure.at_ms - each.at_ms <= window_ms)
    deliveries = {each.delivery for each in seen} | {failure.delivery}
    first_ms = seen[0].at_ms if seen else failure.at_ms
    if len(deliveries) >= rule.onset_failures and failure.at_ms - first_ms >= rule.onset_spread_h * HOUR_MS:
        return (), failure.at_ms
    seen_before = any(each.delivery == failure.delivery for each in seen)
    if not seen_before and len(deliveries) <= rule.onset_failures:
        return (*seen, failure), 0
    if window_ms is not None and seen and failure.at_ms - seen[-1].at_ms >= _APART_MS:
        return (*seen, failure), 0
    return seen, 0
