"""Build the delay role."""

from __future__ import annotations

from app.core.topics.names import RUNGS, TopicName
from app.roles.delay.role import DelayRole
from app.runtime.build.shared import Shared

_FETCH_BYTES = 256 * 1024


def delay_role(shared: Shared) -> DelayRole:
    """A new delay role."""
    rungs = [f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS]
    return DelayRole(
        source=shared.source("delay", rungs, fetch_bytes=_FETCH_BYTES),
        producer=shared.producer,
        topics=shared.topics,
        clock=shared.clock,
        meter=shared.meter,
    )
