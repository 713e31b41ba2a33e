"""The sentences of notices about an endpoint's health, safe to print anywhere."""

from __future__ import annotations

import msgspec

from app.core.wording import plain
from app.profiles.policy import DisableRule


class HealthFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that the sentences are about."""

    url: str
    failures: int
    since: str | None
    disable_at: str | None
    rule: DisableRule
    #: the error of the last attempt; may quote the receiver
    error: str


def failing(facts: HealthFacts, percent: int) -> str:
    """The warning that it will be disabled."""
    start = f"{facts.url} {_so_far(facts)}. It will be disabled {_when(facts)}"
    return f"{start}; {percent}% of that has passed{_last(facts)}"


def disabled(facts: HealthFacts, *, gone: bool) -> str:
    """The reason, for display beside the status."""
    if gone:
        return "Disabled: it answered 410 Gone, which asks for no more requests."
    return f"Disabled: it {_so_far(facts)}{_last(facts)}"


def recovered(facts: HealthFacts) -> str:
    """Its deliveries succeed again."""
    return f"{facts.url} accepts deliveries again. It {_so_far(facts)}."


def silent(url: str, since: str) -> str:
    """Its circuit has been open for a while."""
    probing = "one delivery at a time probes it, and the others wait"
    return f"{url} has not answered since {since}. Its circuit is open: {probing}."


def answers(url: str, since: str) -> str:
    """Its circuit has closed."""
    return f"{url} answers again; it had been silent since {since}. Deliveries that waited for it are being sent."


def dead(facts: HealthFacts, deliveries: int, reason: str) -> str:
    """Deliveries died."""
    number = "A delivery" if deliveries == 1 else f"{deliveries} deliveries of one day"
    return f"{number} to {facts.url} failed and will not be retried: {reason}{_last(facts)}"


def _so_far(facts: HealthFacts) -> str:
    times = "once" if facts.failures == 1 else f"{facts.failures} times in a row"
    return f"has failed {times}, since {facts.since}" if facts.since else f"has failed {times}"


def _when(facts: HealthFacts) -> str:
    ways = []
    if facts.rule.consecutive_failures:
        ways.append(f"after {facts.rule.consecutive_failures} failures in a row")
    if facts.disable_at:
        ways.append(f"if it still fails at {facts.disable_at}")
    return " or ".join(ways)


def _last(facts: HealthFacts) -> str:
    return f". The last error: {plain(facts.error)}" if facts.error else ""
