"""Build the dispatch role."""

from __future__ import annotations

from app.core.topics.names import TopicName
from app.roles.dispatch.lanes import LaneLimits
from app.roles.dispatch.role.worker import DispatchRole
from app.runtime.build.shared import Shared


def dispatch_role(shared: Shared) -> DispatchRole:
    """A new dispatch role."""
    settings = shared.settings
    return DispatchRole(
        source=shared.source("dispatch", [TopicName.DELIVERIES]),
        producer=shared.producer,
        sender=shared.sender,
        feed=shared.feed,
        keyring=shared.keyring,
        subjects=shared.subjects,
        topics=shared.topics,
        clock=shared.clock,
        dice=shared.randomness,
        meter=shared.meter,
        limits=LaneLimits(in_flight=settings.max_in_flight, per_endpoint=settings.max_in_flight_per_endpoint),
        time_scale=settings.time_scale,
        stop_s=settings.stop_seconds,
        least_wait_ms=round(settings.max_wait_hours * 3_600_000),
        tracer=shared.tracer,
        endpoint_meter=shared.endpoint_meter,
    )
