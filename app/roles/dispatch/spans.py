"""The span of an attempt: what it belongs to, and what it says."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpOutcome, HttpReply
from app.core.tracing.context import TraceContext, attempt_span, event_trace, fanout_span, replay_trace
from app.core.tracing.span import FinishedSpan
from app.roles.dispatch.attempts import ending_of, trigger_of
from app.roles.dispatch.verdict import Verdict, result_of


def trace_of(delivery: Delivery) -> TraceContext:
    """The trace of the delivery's attempts: that of its event, or one of its own when it is a replay."""
    return replay_trace(delivery.id) if delivery.replay_id else _first_trace(delivery)


def context_of(delivery: Delivery, *, sampled: bool) -> TraceContext:
    """The context of the delivery's next attempt."""
    return TraceContext(trace_of(delivery).trace_id, attempt_span(delivery.id, delivery.attempts + 1), sampled)


def span_of(
    delivery: Delivery,
    endpoint: Endpoint,
    outcome: HttpOutcome,
    verdict: Verdict,
    *,
    topic: str,
    started_ms: int,
    ended_ms: int,
) -> FinishedSpan:
    """The span of an attempt that was made for `delivery`, which is as it was before."""
    trace, number, result = trace_of(delivery), delivery.attempts + 1, result_of(outcome)
    links = []
    if number > 1:
        links.append(trace.at(attempt_span(delivery.id, number - 1)))
    if delivery.replay_id:
        links.append(_fanout(delivery))
    attributes = _attributes(delivery, endpoint, outcome)
    attributes["messaging.destination.name"] = topic
    attributes["hookstream.result"] = result
    attributes["hookstream.state"] = ending_of(verdict)[0]
    return FinishedSpan(
        name="POST webhook",
        kind="client",
        context=trace.at(attempt_span(delivery.id, number)),
        parent=_parent(delivery, trace, number),
        links=tuple(links),
        started_ms=started_ms,
        ended_ms=ended_ms,
        attributes=attributes,
        error=None if result == "ok" else result,
    )


def _first_trace(delivery: Delivery) -> TraceContext:
    return event_trace(delivery.tenant, delivery.mode, delivery.event_id, delivery.traceparent)


def _fanout(delivery: Delivery) -> TraceContext:
    """The context of the event's first pass through fan-out."""
    return _first_trace(delivery).at(fanout_span(delivery.tenant, delivery.mode, delivery.event_id, ""))


def _parent(delivery: Delivery, trace: TraceContext, number: int) -> TraceContext | None:
    if not delivery.replay_id:
        return _fanout(delivery)
    return trace.at(attempt_span(delivery.id, 1)) if number > 1 else None


def _attributes(delivery: Delivery, endpoint: Endpoint, outcome: HttpOutcome) -> dict[str, str | int | bool]:
    """Neither the URL's path and query nor a word of the receiver: they may hold secrets."""
    attributes: dict[str, str | int | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": delivery.event_id,
        "messaging.message.conversation_id": delivery.id,
        "messaging.message.body.size": len(delivery.body),
        "http.request.method": "POST",
        "http.request.resend_count": delivery.attempts,
        "hookstream.delivery.id": delivery.id,
        "hookstream.endpoint.id": delivery.endpoint_id,
        "hookstream.tenant": delivery.tenant,
        "hookstream.mode": delivery.mode,
        "hookstream.event.type": delivery.event_type,
        "hookstream.profile": endpoint.profile,
        "hookstream.attempt": delivery.attempts + 1,
        "hookstream.trigger": trigger_of(delivery),
        "hookstream.connection.reused": outcome.timing.reused,
    }
    url = urlsplit(endpoint.url)
    if url.hostname:
        attributes["url.scheme"] = url.scheme
        attributes["server.address"] = url.hostname
        attributes["server.port"] = url.port or (443 if url.scheme == "https" else 80)
    if isinstance(outcome, HttpReply):
        attributes["http.response.status_code"] = outcome.status
    if delivery.replay_id:
        attributes["hookstream.replay.id"] = delivery.replay_id
    return attributes
