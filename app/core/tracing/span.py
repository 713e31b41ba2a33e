"""A finished span, as a value: a role describes it, and an adapter exports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from app.core.tracing.context import TraceContext

SpanKind = Literal["producer", "consumer", "client"]


class FinishedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the service. Attribute names are those of OpenTelemetry's semantic conventions, or ours."""

    name: str
    kind: SpanKind
    context: TraceContext
    #: the span that caused it; None: it is the first of its trace
    parent: TraceContext | None = None
    #: spans of the same event that it does not belong to
    links: tuple[TraceContext, ...] = ()
    started_ms: int
    ended_ms: int
    attributes: Mapping[str, str | int | bool]
    #: why it failed, as one word (`error.type`); None: it did not
    error: str | None = None
