"""When an endpoint is switched off for failing: a profile's rule, an endpoint's own numbers, how a clock starts."""

from __future__ import annotations

import msgspec

from app.core.model.endpoint import Endpoint

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: of failures closer together than that one is remembered
_APART_MS = HOUR_MS // 2


class DisableRule(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint is switched off for failing; a profile without a rule has only defaults."""

    #: a 410 disables at once
    gone_410: bool = False
    #: failed attempts in a row, over all deliveries
    consecutive_failures: int | None = None
    #: days in which every attempt failed, counted from the clock's start
    failing_days: float | None = None
    #: the clock starts with that many failed deliveries …
    onset_failures: int = 1
    #: … within so many hours (None: however far apart) …
    onset_window_h: float | None = None
    #: … of which the first and the last failure are at least so many hours apart
    onset_spread_h: float = 0.0


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A failed attempt that may start a clock."""

    at_ms: int
    #: the end of the delivery's id
    delivery: str


def effective(rule: DisableRule, endpoint: Endpoint) -> DisableRule:
    """The profile's rule with the endpoint's own numbers; 0 means never."""
    failures, days = endpoint.disable_after_failures, endpoint.disable_after_days
    return msgspec.structs.replace(
        rule,
        consecutive_failures=rule.consecutive_failures if failures is None else failures or None,
        failing_days=rule.failing_days if days is None else days or None,
    )


def begins(rule: DisableRule, onset: tuple[Failure, ...], failure: Failure) -> tuple[tuple[Failure, ...], int]:
    """Another failure: what may start the clock from now on, and when it has started (0: not yet)."""
    window_ms = None if rule.onset_window_h is None else rule.onset_window_h * HOUR_MS
    seen = tuple(each for each in onset if window_ms is None or failure.at_ms - each.at_ms <= window_ms)
    deliveries = {each.delivery for each in seen} | {failure.delivery}
    first_ms = seen[0].at_ms if seen else failure.at_ms
    if len(deliveries) >= rule.onset_failures and failure.at_ms - first_ms >= rule.onset_spread_h * HOUR_MS:
        return (), failure.at_ms
    known = any(each.delivery == failure.delivery for each in seen)
    if not known and len(deliveries) <= rule.onset_failures:
        return (*seen, failure), 0
    if window_ms is not None and seen and failure.at_ms - seen[-1].at_ms >= _APART_MS:
        return (*seen, failure), 0
    return seen, 0
