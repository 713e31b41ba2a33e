"""The private side of aiokafka's fetching: where it stands, and how long the broker gathers before it answers.

Gathering: with few records not at all, with many a moment.

aiokafka fixes that for a consumer's life, and has one fetch under way for each broker. With a long wait and one byte,
every record comes at once and idle costs nothing; but under load each fetch brings a record or two of each partition,
and a stream processor pays for a batch of two what it pays for one of a hundred. The numbers are read anew for each
fetch, so they are changed between two of them (private attributes; the version is pinned).
"""

from __future__ import annotations

from typing import Any

#: a poll with so many records or more is one under load
_BRISK = 4
#: under load the broker gathers for that long, or until there are so many bytes
_GATHER_MS = 3
_GATHER_BYTES = 256 * 1024


def read_position(consumer: Any, place: Any) -> int | None:
    """The offset that an AIOKafkaConsumer hands out next of a partition, without waiting; None: not known (yet)."""
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription is not None else None
    state = assignment.state_value(place) if assignment is not None else None
    return int(state.position) if state is not None and state.has_valid_position else None


class Gathering:
    """Adapts one consumer's fetches to what its polls bring."""

    def __init__(self, patient_ms: int) -> None:
        """`patient_ms`: the wait when there is nothing."""
        self._patient_ms = patient_ms
        self._brisk = False

    def polled(self, consumer: Any, records: int) -> None:
        """A poll of `consumer` (an AIOKafkaConsumer) has brought so many records."""
        brisk = records >= _BRISK
        if brisk != self._brisk:
            self._brisk = brisk
            fetcher = consumer._fetcher
            fetcher._fetch_max_wait_ms = _GATHER_MS if brisk else self._patient_ms
            fetcher._fetch_min_bytes = _GATHER_BYTES if brisk else 1
