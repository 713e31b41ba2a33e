"""What a plan depends on besides records, tables and directory: topic names, and the bounds of a slice."""

from __future__ import annotations

import msgspec

from app.core.topics.declarations import GROWTH, max_message_bytes
from app.core.topics.names import TopicName


class OutputTopics(msgspec.Struct, frozen=True, kw_only=True):
    """The physical names of the topics that fan-out writes."""

    deliveries: str = TopicName.DELIVERIES
    ordered: str = TopicName.DELIVERIES_ORDERED
    dead_letters: str = TopicName.DELIVERIES_DEAD
    rejected: str = TopicName.EVENTS_REJECTED
    duplicates: str = TopicName.EVENTS_DUPLICATES


class FanoutRules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a plan depends on."""

    #: the physical name of events.raw
    topic: str
    outputs: OutputTopics = OutputTopics()
    ttl_ms: int
    max_event_bytes: int

    #: outputs (deliveries, rejected records, duplicates, table entries) of one slice
    slice_outputs: int = 2000
    #: bytes that one slice reads and writes
    slice_bytes: int = 4 * 1024 * 1024
    #: units of schema work (core/schemas/cost.py) after which a slice ends: 50 ms
    slice_units: int = 2_000_000
    #: steps of filters (core/filters/verdicts.py) after which a slice ends: 50 ms
    slice_filter_steps: int = 200_000
    #: an event with at most this many outputs and bytes is cut for its filters only
    whole_outputs: int = 200
    whole_bytes: int = 1024 * 1024

    @property
    def max_rejected_bytes(self) -> int:
        """The size up to which a rejected record certainly fits into `events.rejected`."""
        return max_message_bytes(self.max_event_bytes) - GROWTH
