"""The retry and disable policies of a profile."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.core.model.endpoint import Endpoint


class DisableRule(msgspec.Struct, frozen=True, kw_only=True):
    """The rule by which failing endpoints are disabled; without a rule the fields have defaults."""

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


def effective(rule: DisableRule, endpoint: Endpoint) -> DisableRule:
    """The profile's rule with the endpoint's own numbers; 0 means never."""
    failures, days = endpoint.disable_after_failures, endpoint.disable_after_days
    return msgspec.structs.replace(
        rule,
        consecutive_failures=rule.consecutive_failures if failures is None else failures or None,
        failing_days=rule.failing_days if days is None else days or None,
    )


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The retry policy of an endpoint, from its settings and its profile."""

    schedule_s: Sequence[float]
    #: 410 ends the delivery at once
    gone_410: bool
    #: multiplies the schedule's delays
    scale: float = 1.0
