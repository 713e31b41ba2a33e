"""The tracer speaks OTLP to a collector on a socket, obeys the standard variables, and never waits for one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.telemetry.tracing import OtelTracer
from app.core.errors import ConfigError
from app.core.tracing.context import TraceContext, event_trace
from app.core.tracing.span import FinishedSpan
from app.runtime.build import tracing
from app.settings import Settings
from tests.otlp import Collector, collector, grpc_collector
from tests.patience import PATIENCE_S
from tests.ports import free_port

TRACE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
SPAN = FinishedSpan(
    name="process events.raw",
    kind="consumer",
    context=TRACE.at("00f067aa0ba902b7"),
    parent=TRACE,
    links=(TraceContext("1" * 32, "2" * 16),),
    started_ms=1_700_000_000_000,
    ended_ms=1_700_000_000_250,
    attributes={"messaging.system": "kafka", "messaging.kafka.offset": 7, "hookstream.connection.reused": True},
    error="timeout",
)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


async def exported(tracer: OtelTracer, *spans: FinishedSpan) -> None:
    await tracer.start()
    for span in spans:
        tracer.export(span)
    await asyncio.wait_for(tracer.stop(), PATIENCE_S)


async def test_a_span_arrives_as_it_is(target: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    await exported(OtelTracer("1.2.3", "worker-1"), SPAN)
    (got,) = target.spans
    assert (got.name, got.kind, got.trace, got.id) == (SPAN.name, 5, TRACE.trace_id, SPAN.context.span_id)
    assert (got.parent, got.links) == (TRACE.span_id, [("1" * 32, "2" * 16)])
    assert got.attributes == {**SPAN.attributes, "error.type": "timeout"} and got.failed
    assert (got.started_ns, got.ended_ns) == (SPAN.started_ms * 10**6, SPAN.ended_ms * 10**6)
    assert (
        got.resource.items()
        >= {
            "service.name": "hookstream",
            "service.version": "1.2.3",
            "service.instance.id": "worker-1",
            "deployment.environment.name": "test",
        }.items()
    )


async def test_a_root_has_the_ids_that_were_given(target: Collector) -> None:
    root = FinishedSpan(name="r", kind="producer", context=TRACE, started_ms=1, ended_ms=2, attributes={}, error=None)
    await exported(OtelTracer("1", None), root)
    assert [(got.trace, got.id, got.parent, got.failed) for got in target.spans] == [
        (TRACE.trace_id, TRACE.span_id, "", False)
    ]


async def test_the_standard_variables_decide(target: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "hooks")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracer = OtelTracer("1", None)
    roots = [event_trace("acme", "live", f"e{number}", None) for number in range(400)]
    chosen = [root for root in roots if tracer.is_sampled(root)]
    assert 50 < len(chosen) < 150 and chosen == [root for root in roots if tracer.is_sampled(root)]
    assert tracer.is_sampled(TRACE) and not tracer.is_sampled(TraceContext(TRACE.trace_id, TRACE.span_id, False))
    below = [
        FinishedSpan(name="r", kind="client", context=each.at("a" * 16), started_ms=1, ended_ms=2, attributes={})
        for each in chosen
    ]
    await exported(tracer, *below)
    assert len(target.spans) == len(chosen), "the SDK decides about a span as `is_sampled` did"
    assert {got.resource["service.name"] for got in target.spans} == {"hooks"}


async def test_a_stop_exports_what_is_queued_and_a_start_may_follow(target: Collector) -> None:
    tracer = OtelTracer("1", None)
    await exported(tracer, *[SPAN] * 1500)
    assert len(target.spans) == 1500 and target.requests > 1
    await exported(tracer, SPAN)
    assert len(target.spans) == 1501
    await tracer.stop()


@pytest.mark.parametrize("fault", ["away", "unavailable"])
async def test_a_collector_that_fails_delays_nothing(
    target: Collector, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "away":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    target.answer = 503
    monkeypatch.setattr("app.adapters.telemetry.tracing._STOP_S", 0.0)
    tracer = OtelTracer("1", None)
    await exported(tracer, *[SPAN] * 5000)  # more than the queue holds: `export` drops, and returns
    assert target.spans == []


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "app.adapters.telemetry.tracing", None)
    with pytest.raises(ConfigError, match=r"HOOKSTREAM_TRACING: .*pip install 'hookstream\[otel\]'"):
        tracing.tracer_of(Settings(tracing=True))
    assert tracing.tracer_of(Settings()) is None


async def test_a_span_arrives_over_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_collector() as target:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", target.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
        tracer = OtelTracer("1.2.3", "worker-1")
        await exported(tracer, SPAN)
        await exported(tracer, SPAN)  # a start may follow a stop
        assert [(got.trace, got.id, got.parent) for got in target.spans] == [
            (TRACE.trace_id, SPAN.context.span_id, TRACE.span_id)
        ] * 2
        assert target.metadata["x-tenant"] == "acme"


async def test_a_grpc_collector_that_fails_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_collector() as target:
        target.answer = 503
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", target.url)
        monkeypatch.setattr("app.adapters.telemetry.tracing._STOP_S", 0.0)
        await exported(OtelTracer("1", None), *[SPAN] * 5000)
        assert target.spans == []


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not supported; use http/protobuf or"),
        ({"PROTOCOL": "http/protobuf", "TRACES_PROTOCOL": "zipkin"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'zipkin'"),
    ],
)
def test_a_protocol_that_is_not_supported_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        tracing.tracer_of(Settings(tracing=True))


def test_grpc_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: .*pip install 'hookstream\[otel-grpc\]'"):
        tracing.tracer_of(Settings(tracing=True))


async def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    tracer = OtelTracer("1", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_…: .*soon"):
        await tracer.start()


def test_attribute_names_are_those_of_the_semantic_conventions() -> None:
    package = Path(__import__("opentelemetry.semconv", fromlist=["_"]).__path__[0])
    conventions = {
        name for file in package.rglob("*.py") for name in re.findall(r'"([a-z_]+\.[a-z_.]+)"', file.read_text())
    }
    sources = [
        Path("app/api/handlers/event_tracing.py"),
        Path("app/api/handlers/webhook_test_tracing.py"),
        Path("app/roles/dispatch/spans.py"),
        Path("app/roles/fanout/traced_plan.py"),
        Path("app/adapters/telemetry/tracing.py"),
    ]
    root = Path(__file__).parents[2]
    used = {name for file in sources for name in re.findall(r'"([a-z_]+\.[a-z_.]+)"', (root / file).read_text())}
    assert len(used) > 20
    assert {name for name in used if not name.startswith("hookstream.")} <= conventions
