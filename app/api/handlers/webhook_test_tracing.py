"""The trace of a test event: the span of its one attempt, below its caller's span."""

from __future__ import annotations

import msgspec

from app.api.request import ApiRequest, ApiServices
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpOutcome
from app.core.tracing import context
from app.roles.dispatch import spans
from app.roles.dispatch.verdict import Verdict

#: of spans of deliveries that come out of Kafka
_KAFKA = "messaging."


def in_trace(call: ApiRequest, delivery: Delivery) -> Delivery:
    """The delivery in its caller's trace, if the request names a valid one."""
    given = call.headers.get("traceparent")
    return msgspec.structs.replace(delivery, traceparent=given) if context.read(given) is not None else delivery


def as_sent(api: ApiServices, delivery: Delivery) -> Delivery:
    """The delivery with the `traceparent` of its request: the span of the attempt; the caller's with tracing off."""
    if api.tracer is None:
        return delivery
    own = spans.context_of(delivery, sampled=api.tracer.is_sampled(spans.trace_of(delivery)))
    return msgspec.structs.replace(delivery, traceparent=own.traceparent)


def export(
    api: ApiServices,
    call: ApiRequest,
    delivery: Delivery,
    endpoint: Endpoint,
    outcome: HttpOutcome,
    verdict: Verdict,
    *,
    started_ms: int,
    ended_ms: int,
) -> None:
    """Export the span of the attempt."""
    trace = spans.trace_of(delivery)
    if api.tracer is None or not api.tracer.is_sampled(trace):
        return
    attempt = spans.span_of(delivery, endpoint, outcome, verdict, topic="", started_ms=started_ms, ended_ms=ended_ms)
    attributes = {name: value for name, value in attempt.attributes.items() if not name.startswith(_KAFKA)}
    attributes["hookstream.trigger"] = "test"
    attributes["hookstream.event.id"] = delivery.event_id
    if call.id:
        attributes["hookstream.request.id"] = call.id
    parent = trace if trace.span_id else None
    api.tracer.export(msgspec.structs.replace(attempt, parent=parent, attributes=attributes))
