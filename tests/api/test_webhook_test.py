"""A test event has a span of its own, below its caller's; nothing of Kafka, and nothing secret, is in it."""

from __future__ import annotations

import msgspec
import pytest

from app.core.tracing.context import read
from tests.api.read_stage import Stage
from tests.fakes.sender import ScriptedSender
from tests.fakes.tracer import MemoryTracer

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Minter:
    """`app.ports.secrets.TokenGenerator`, of ids alone."""

    def id(self, prefix: str) -> str:
        return f"{prefix}_1"


class TestStage(Stage):
    """A stage whose service sends tests."""

    __test__ = False

    def __init__(self, tracer: MemoryTracer | None) -> None:
        super().__init__()
        self.sender = ScriptedSender()
        self.services = msgspec.structs.replace(self.services, sender=self.sender, minter=Minter(), tracer=tracer)

    @property
    def header(self) -> str | None:
        """The `traceparent` of the last request to the endpoint."""
        return dict(self.sender.requests[-1].headers).get("traceparent")


@pytest.mark.parametrize("flag", ["01", "00"])
async def test_a_test_event_is_in_its_callers_trace(flag: str) -> None:
    tracer = MemoryTracer()
    stage = TestStage(tracer)
    stage.headers = {"traceparent": f"00-{TRACE}-{CALLER}-{flag}"}
    await stage.ask("actions.test", {"type": "a.b", "data": "planted"}, of="ep")
    own = read(stage.header)
    assert own is not None and own.trace_id == TRACE and own.span_id != CALLER
    assert stage.header is not None and stage.header.endswith(f"-{flag}")
    if flag == "00":
        assert tracer.spans == []
        return
    (span,) = tracer.spans
    assert (span.context.span_id, span.parent and span.parent.span_id) == (own.span_id, CALLER)
    assert (span.name, span.kind, span.links, span.error) == ("POST webhook", "client", (), None)
    assert span.attributes["hookstream.trigger"] == "test"
    assert span.attributes["hookstream.event.id"] == "evt_test_1"
    assert span.attributes["http.response.status_code"] == 200
    assert not any(name.startswith("messaging.") for name in span.attributes)
    assert "planted" not in repr(span)


async def test_a_test_without_a_caller_has_a_trace_of_its_own_and_its_failure_is_named() -> None:
    tracer = MemoryTracer()
    stage = TestStage(tracer)
    stage.sender.script("https://ep.example/", 503)
    stage.headers = {"traceparent": "00-not-a-trace"}
    await stage.ask("actions.test", {"type": "a.b"}, of="ep")
    (span,) = tracer.spans
    assert (span.parent, span.error) == (None, "http_5xx") and span.context == read(stage.header)


@pytest.mark.parametrize(("given", "sent"), [(f"00-{TRACE}-{CALLER}-01",) * 2, ("00-not-a-trace", None)])
async def test_without_tracing_the_callers_header_is_passed_on(given: str, sent: str | None) -> None:
    stage = TestStage(None)
    stage.headers = {"traceparent": given}
    await stage.ask("actions.test", {"type": "a.b"}, of="ep")
    assert stage.header == sent
