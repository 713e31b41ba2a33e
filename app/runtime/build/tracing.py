"""Build the tracer of a process. Nothing of OpenTelemetry is imported unless tracing is on."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from app.core.errors import ConfigError
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.telemetry.tracing import OtelTracer


def tracer_of(settings: Settings) -> OtelTracer | None:
    """The tracer; None when tracing is off. Raises `ConfigError` when OpenTelemetry is not installed."""
    if not settings.tracing:
        return None
    try:
        from app.adapters.telemetry.tracing import OtelTracer
    except ImportError as error:
        problem = f"HOOKSTREAM_TRACING: {error.name} is not installed: pip install 'hookstream[otel]'"
        raise ConfigError([problem]) from error
    return OtelTracer(version("hookstream"), settings.instance_id)
