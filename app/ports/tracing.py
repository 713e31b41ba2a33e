"""Traces of events. Where tracing is off there is no tracer, and no role does anything for it."""

from __future__ import annotations

from typing import Protocol

from app.core.tracing.context import TraceContext
from app.core.tracing.span import FinishedSpan


class Tracer(Protocol):
    """Exports spans; neither method waits or raises."""

    def is_sampled(self, trace: TraceContext) -> bool:
        """Whether the spans below this context are exported: the answer depends on the context alone."""
        ...

    def export(self, span: FinishedSpan) -> None:
        """Queue a span for export. A full queue drops it."""
        ...
