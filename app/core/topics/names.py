"""The names of all topics, and the rungs of the delay ladder."""

from __future__ import annotations

from collections.abc import Sequence


def rung_for(wait_s: float, rungs: Sequence[tuple[str, float]]) -> str:
    """The rung for a record that is due in `wait_s` seconds: the longest that is not longer, or the shortest.

    A record therefore never waits in a rung past its due time, and reaches any due time by moving down the ladder.
    """
    chosen = rungs[0][0]
    for name, seconds in rungs:
        if seconds > wait_s:
            break
        chosen = name
    return chosen


#: the delay ladder: names and seconds of its rungs, ascending
RUNGS: tuple[tuple[str, float], ...] = (
    ("1s", 1.0),
    ("5s", 5.0),
    ("30s", 30.0),
    ("1m", 60.0),
    ("5m", 300.0),
    ("30m", 1800.0),
    ("2h", 7200.0),
    ("8h", 28800.0),
)


class TopicName:
    """The logical names of topics that roles use."""

    EVENTS_RAW = "events.raw"
    EVENTS_REJECTED = "events.rejected"
    EVENTS_DUPLICATES = "events.duplicates"
    REGISTRY_COMMANDS = "registry.commands"
    REGISTRY = "registry"
    REGISTRY_REPLIES = "registry.replies"
    DELIVERIES = "deliveries"
    DELIVERIES_ORDERED = "deliveries.ordered"
    SEQUENCER_QUEUES = "hookstream.sequencer-queues-changelog"
    SEQUENCER_WAITING = "hookstream.sequencer-waiting-changelog"
    #: followed by `.<rung>`
    DELIVERIES_DELAY = "deliveries.delay"
    DELIVERIES_PULL = "deliveries.pull"
    DELIVERIES_DEAD = "deliveries.dead"
    ATTEMPTS = "attempts"
    ENDPOINTS_SIGNALS = "endpoints.signals"
    NOTICES = "notices"
    AUDIT = "audit"
