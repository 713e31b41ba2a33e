"""Tracing of attempts: what sends deliveries in place of `DeliverySender` while tracing is on."""

from __future__ import annotations

from typing import Any

import msgspec

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpOutcome, HttpRequest
from app.ports.tracing import Tracer
from app.roles.dispatch.role.delivery_sender import DeliverySender
from app.roles.dispatch.spans import context_of, span_of, trace_of
from app.roles.dispatch.verdict import Verdict


class TracedDeliverySender(DeliverySender):
    """Sends requests whose `traceparent` is the attempt's span, and exports the span."""

    def __init__(self, tracer: Tracer, topic: str, **arguments: Any) -> None:
        """`topic` is the name of `deliveries`; the other arguments are those of `DeliverySender`."""
        super().__init__(**arguments)
        self._tracer = tracer
        self._topic = topic

    def _build(self, delivery: Delivery, endpoint: Endpoint, now_ms: int) -> HttpRequest:
        context = context_of(delivery, sampled=self._tracer.is_sampled(trace_of(delivery)))
        return super()._build(msgspec.structs.replace(delivery, traceparent=context.traceparent), endpoint, now_ms)

    def _measure(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        outcome: HttpOutcome,
        verdict: Verdict,
        *,
        started_ms: int,
        ended_ms: int,
    ) -> None:
        super()._measure(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        if self._tracer.is_sampled(trace_of(delivery)):
            span = span_of(
                delivery, endpoint, outcome, verdict, topic=self._topic, started_ms=started_ms, ended_ms=ended_ms
            )
            self._tracer.export(span)
