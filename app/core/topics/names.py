"""The names of all topics, and the rungs of the delay ladder."""

from __future__ import annotations

from collections.abc import Sequence


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


#: the delay ladder: name and seconds, ascending
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
    """Logical topic names that roles use."""

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
    DELIVERIES_DEAD = "deliveries.dead"
    ATTEMPTS = "attempts"
    ENDPOINTS_SIGNALS = "endpoints.signals"
    NOTICES = "notices"
    AUDIT = "audit"
