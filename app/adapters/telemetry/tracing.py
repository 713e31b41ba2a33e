"""Export of spans by OpenTelemetry's SDK over OTLP. Only a process with tracing on imports this file.

Destination, sampler, resource and queue are set by the standard variables OTEL_*. Export takes place in a thread of the
SDK: a collector that is slow or away costs the spans that do not fit into its queue, and delays nothing.
"""

from __future__ import annotations

import asyncio
import os

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from app.adapters.telemetry.otlp import exporter_of
from app.core.errors import ConfigError
from app.core.tracing.context import TraceContext
from app.core.tracing.span import FinishedSpan

_KINDS = {"producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER, "client": SpanKind.CLIENT}
#: what a stop waits for spans that are not exported yet
_STOP_S = 5.0
_NS = 1_000_000


class OtelTracer:
    """The tracer of one process. All of its methods are called by the event loop's thread."""

    def __init__(self, version: str, instance: str | None) -> None:
        """Raises `ConfigError` when the protocol that the variables name cannot be used."""
        self._make_exporter = exporter_of(os.environ)
        self._ids = _GivenIds()
        ours = {"service.name": "hookstream", "service.version": version}
        if instance:
            ours["service.instance.id"] = instance
        resource = Resource.create().merge(Resource(ours)).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("hookstream", version)
        self._exporter: SpanExporter | None = None
        self._processor: BatchSpanProcessor | None = None

    async def start(self) -> None:
        """Begin to export. Raises `ConfigError` when a value of the variables cannot be used."""
        try:
            self._exporter = self._make_exporter()
        except (ValueError, OSError) as error:
            raise ConfigError([f"OTEL_EXPORTER_OTLP_…: {error}"]) from error
        self._processor = BatchSpanProcessor(self._exporter)
        self._provider.add_span_processor(self._processor)

    async def stop(self) -> None:
        """Export the queue, for a few seconds at most."""
        if self._processor is None or self._exporter is None:
            return
        stopping = asyncio.create_task(asyncio.to_thread(self._processor.shutdown))
        await asyncio.wait([stopping], timeout=_STOP_S)
        if not stopping.done():
            self._exporter.shutdown()
            # which ends a retry; the rest of the queue is lost
        await stopping
        self._processor = self._exporter = None

    def is_sampled(self, trace: TraceContext) -> bool:
        """See the port."""
        result = self._provider.sampler.should_sample(_context(trace), int(trace.trace_id, 16), "")
        return result.decision is Decision.RECORD_AND_SAMPLE

    def export(self, span: FinishedSpan) -> None:
        """See the port."""
        self._ids.trace_id, self._ids.span_id = int(span.context.trace_id, 16), int(span.context.span_id, 16)
        made = self._tracer.start_span(
            span.name,
            context=_context(span.parent),
            kind=_KINDS[span.kind],
            attributes=dict(span.attributes),
            links=[Link(_remote(link)) for link in span.links],
            start_time=span.started_ms * _NS,
        )
        if span.error is not None:
            made.set_attribute("error.type", span.error)
            made.set_status(Status(StatusCode.ERROR))
        made.end(span.ended_ms * _NS)


class _GivenIds(IdGenerator):
    """Gives the next span the ids that it has already."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


def _context(parent: TraceContext | None) -> Context:
    """The context of a span below `parent`; an empty one (not that of the thread) when it has no parent."""
    if parent is None or not parent.span_id:
        return Context()
    return set_span_in_context(NonRecordingSpan(_remote(parent)), Context())


def _remote(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)
