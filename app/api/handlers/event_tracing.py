"""The trace context of events that the API appends, and the span of a request that does so."""

from __future__ import annotations

from app.api.request import ApiRequest, ApiServices
from app.core.tracing import context
from app.core.tracing.context import TraceContext
from app.core.tracing.span import FinishedSpan


def traceparent(api: ApiServices, call: ApiRequest) -> str | None:
    """The header of the records: the span of the request, or with tracing off what the caller gave; None: no trace."""
    given = call.headers.get("traceparent")
    if api.tracer is not None:
        return _span_context(api, call).traceparent
    return given if context.read(given) is not None else None


def export(
    api: ApiServices, call: ApiRequest, topic: str, ids: list[str], started_ms: int, *, error: str | None = None
) -> None:
    """Export the span of a request that has appended events, or failed to."""
    if api.tracer is None:
        return
    own, trace = _span_context(api, call), _trace(call)
    if not own.sampled:
        return
    attributes: dict[str, str | int | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(ids),
        "hookstream.request.id": call.id,
        "hookstream.tenant": call.caller.tenant,
        "hookstream.mode": call.caller.mode,
    }
    if len(ids) == 1:
        attributes["messaging.message.id"] = ids[0]
    span = FinishedSpan(
        name=f"send {topic}",
        kind="producer",
        context=own,
        parent=trace if trace.span_id else None,
        started_ms=started_ms,
        ended_ms=api.clock.now_ms(),
        attributes=attributes,
        error=error,
    )
    api.tracer.export(span)


def _trace(call: ApiRequest) -> TraceContext:
    return context.request_trace(call.id, call.headers.get("traceparent"))


def _span_context(api: ApiServices, call: ApiRequest) -> TraceContext:
    assert api.tracer is not None
    trace = _trace(call)
    return TraceContext(trace.trace_id, context.accept_span(call.id), api.tracer.is_sampled(trace))
