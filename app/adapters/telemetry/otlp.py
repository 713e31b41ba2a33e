"""The exporter of spans that OpenTelemetry's variables ask for. Only a process with tracing on imports this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.sdk.trace.export import SpanExporter

from app.core.errors import ConfigError

#: the first one that is set decides
_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP, _GRPC = "http/protobuf", "grpc"


def exporter_of(environ: Mapping[str, str]) -> Callable[[], SpanExporter]:
    """What makes an exporter that speaks the chosen protocol.

    Raises `ConfigError` when the protocol is not supported, or its package is not installed.
    """
    variable = next((each for each in _VARIABLES if environ.get(each, "").strip()), "")
    match environ.get(variable, _HTTP).strip():
        case "http/protobuf":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

            return HttpExporter
        case "grpc":
            return _grpc(variable)
        case other:
            raise ConfigError([f"{variable}: {other!r} is not supported; use {_HTTP} or {_GRPC}"])


def _grpc(variable: str) -> Callable[[], SpanExporter]:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
    except ImportError as error:
        problem = (
            f"{variable}: {error.name} is not installed: pip install 'hookstream[otel-grpc]', "
            f"or use {_HTTP}, which most collectors accept on port 4318"
        )
        raise ConfigError([problem]) from error
    return GrpcExporter
