"""A planner that also reports each event that it has planned to its end, for tracing."""

from __future__ import annotations

from typing import cast

import msgspec

from app.core.model.event import Event
from app.core.tracing.context import TraceContext, event_trace, fanout_span, replay_trace
from app.core.tracing.span import FinishedSpan
from app.roles.fanout.plan import BatchPlan, BatchPlanner, OpenEvent


class PlannedEvent(msgspec.Struct, frozen=True):
    """An event whose last delivery is planned."""

    event: Event
    offset: int
    replay_id: str
    deliveries: int


class TracedPlan(BatchPlan, kw_only=True):
    """A slice, with the events that end in it."""

    events: list[PlannedEvent] = msgspec.field(default_factory=list)


class TracedBatchPlanner(BatchPlanner):
    """Plans as `BatchPlanner` does; its slices are `TracedPlan`s."""

    def _begin_slice(self) -> None:
        super()._begin_slice()
        self._slice = TracedPlan()

    def _deliver(self, opened: OpenEvent) -> bool:
        ended = super()._deliver(opened)
        if ended:
            planned = PlannedEvent(opened.event, opened.record.offset, opened.replay_id, opened.outputs)
            cast(TracedPlan, self._slice).events.append(planned)
        return ended


def trace_of(planned: PlannedEvent) -> TraceContext:
    """The trace that the span of fan-out belongs to."""
    event = planned.event
    if planned.replay_id:
        return replay_trace(event.tenant, event.mode, event.id, planned.replay_id)
    return event_trace(event.tenant, event.mode, event.id, event.traceparent)


def span_of(
    planned: PlannedEvent, *, topic: str, group: str, partition: int, started_ms: int, ended_ms: int
) -> FinishedSpan:
    """The span of fan-out for one event."""
    event, trace = planned.event, trace_of(planned)
    span_id = fanout_span(event.tenant, event.mode, event.id, planned.replay_id)
    links: tuple[TraceContext, ...] = ()
    if planned.replay_id:
        first = event_trace(event.tenant, event.mode, event.id, event.traceparent)
        links = (first.at(fanout_span(event.tenant, event.mode, event.id, "")),)
    attributes: dict[str, str | int | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": planned.offset,
        "messaging.consumer.group.name": group,
        "messaging.message.id": event.id,
        "messaging.message.body.size": len(event.body),
        "hookstream.tenant": event.tenant,
        "hookstream.mode": event.mode,
        "hookstream.event.type": event.type,
        "hookstream.deliveries": planned.deliveries,
    }
    if planned.replay_id:
        attributes["hookstream.replay.id"] = planned.replay_id
    return FinishedSpan(
        name=f"process {topic}",
        kind="consumer",
        context=trace.at(span_id),
        parent=trace if trace.span_id else None,
        links=links,
        started_ms=started_ms,
        ended_ms=ended_ms,
        attributes=attributes,
    )
