"""Which deliveries count for the service level objectives: those whose wait or end the receiver did not cause."""

from __future__ import annotations

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.roles.dispatch.ordered_deliveries import is_ordered


def is_prompt(delivery: Delivery, endpoint: Endpoint) -> bool:
    """Whether the next attempt is the first one, and nothing but the service has delayed it.

    Ordered, deferred, replayed and retried deliveries wait on purpose. A delivery that was parked looks like a new one,
    but its endpoint was changed since its event was appended.
    """
    waited = delivery.due_at_ms or delivery.replay_id or delivery.manual or is_ordered(delivery)
    resumed = bool(endpoint.suspensions) and endpoint.updated_at_ms > delivery.accepted_at_ms
    return bool(delivery.accepted_at_ms) and not (delivery.attempts or waited or resumed)


def is_healthy(endpoint: Endpoint) -> bool:
    """Whether the endpoint is neither shown as failing nor silent."""
    return endpoint.failing_since_ms is None and endpoint.circuit is None
