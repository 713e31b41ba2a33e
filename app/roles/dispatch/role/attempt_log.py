"""The log line of each attempt: at debug, and for some of the failures at info.

A line has neither the URL, nor what the receiver answered, nor the data: they may hold secrets.
"""

from __future__ import annotations

import logging

import structlog

from app.core.model.delivery import Delivery
from app.core.records.attempt import Attempt
from app.core.sampling import SampledByKey
from app.ports.clock import Clock
from app.roles.dispatch.spans import context_of

logger = structlog.get_logger(__name__)

_EVERY_S = 60.0
#: lines about failures at info, in a minute: of one endpoint, and of all
PER_ENDPOINT, PER_WORKER = 2, 200


class AttemptLog:
    """Writes the lines of one worker."""

    def __init__(self, clock: Clock, *, traced: bool) -> None:
        self._clock = clock
        self._traced = traced
        self._failures = SampledByKey(each=PER_ENDPOINT, most=PER_WORKER, every_s=_EVERY_S)

    def note(self, attempt: Attempt, delivery: Delivery) -> None:
        """Write the line of an attempt, if the level and the limits let it through. `delivery` is as it was before."""
        omitted = None
        if attempt.state in ("retrying", "dead"):
            omitted = self._failures.take(attempt.endpoint_id, self._clock.monotonic())
        if omitted is not None:
            more = {"left_out": omitted} if omitted else {}
            logger.info("delivery.attempt", **self._fields(attempt, delivery), **more)
        elif logger.is_enabled_for(logging.DEBUG):
            logger.debug("delivery.attempt", **self._fields(attempt, delivery))

    def _fields(self, attempt: Attempt, delivery: Delivery) -> dict[str, object]:
        fields: dict[str, object] = {
            "delivery": attempt.delivery_id,
            "event_id": attempt.event_id,
            "type": attempt.event_type,
            "endpoint": attempt.endpoint_id,
            "tenant": attempt.tenant,
            "mode": attempt.mode,
            "attempt": attempt.attempt,
            "trigger": attempt.trigger,
            "state": attempt.state,
            "result": attempt.result,
            "duration_ms": attempt.duration_ms,
        }
        more = {
            "status": attempt.status,
            "reason": attempt.reason,
            "next_attempt_at": attempt.next_attempt_at,
            "latency_ms": attempt.latency_ms or None,
            "replay": attempt.replay_id,
        }
        fields |= {name: value for name, value in more.items() if value is not None}
        if self._traced:
            context = context_of(delivery, sampled=True)
            fields |= {"trace_id": context.trace_id, "span_id": context.span_id}
        elif delivery.traceparent:
            fields["trace_id"] = delivery.traceparent[3:35]
        return fields
