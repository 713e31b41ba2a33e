"""Each attempt has one line: at debug, and a bounded number of failures at info."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import structlog
from structlog.testing import LogCapture

from app.core.tracing import context
from app.roles.dispatch.role import attempt_log
from tests.fakes.tracer import MemoryTracer
from tests.roles.dispatch.dispatch_stage import Stage, url_of

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def lines(stage: Stage, number: int, **fields: Any) -> list[Any]:
    """The lines of that many events for the endpoint `a`."""
    seen = LogCapture()
    plain = structlog.wrap_logger(None, processors=[seen], wrapper_class=structlog.make_filtering_bound_logger(0))
    with patch.object(attempt_log, "logger", plain):  # the process may have configured its own level
        await stage.start()
        for each in range(number):
            stage.put("a", f"e{each}", **fields)
        await stage.attempts(number)
        await stage.stop()
    return [line for line in seen.entries if line["event"] == "delivery.attempt"]


async def test_a_success_is_a_line_at_debug_that_names_everything_and_quotes_nothing(stage: Stage) -> None:
    stage.endpoint("a", url="https://user:planted@x.example/planted?key=planted", headers={"x-own": "planted"})
    (line,) = await lines(stage, 1, body=b'{"type":"a.b","data":"planted"}', traceparent=f"00-{TRACE}-{'1' * 16}-01")
    assert line["log_level"] == "debug"
    assert (line["delivery"], line["event_id"], line["endpoint"], line["tenant"]) == ("dlv_e0", "e0", "a", "acme")
    assert (line["state"], line["result"], line["status"], line["attempt"]) == ("delivered", "ok", 200, 1)
    assert (line["trace_id"], "span_id" in line) == (TRACE, False)
    assert "planted" not in repr(line)


async def test_failures_are_at_info_twice_a_minute_for_an_endpoint(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), 500)
    logged = await lines(stage, 20)
    assert len(logged) == 20 and [line["log_level"] for line in logged].count("info") == 2
    assert {line["result"] for line in logged} == {"http_5xx"} and logged[0]["next_attempt_at"]


async def test_a_delivery_that_ends_without_a_request_has_a_line(stage: Stage) -> None:
    stage.endpoint("a", status="disabled")
    (line,) = await lines(stage, 1)
    assert (line["state"], line["reason"], line["attempt"]) == ("cancelled", "endpoint_disabled", 0)


@pytest.mark.parametrize("traceparent", [None, f"00-{TRACE}-{'1' * 16}-01"])
async def test_with_tracing_a_line_names_the_attempts_span(traceparent: str | None) -> None:
    tracer = MemoryTracer()
    stage = Stage(tracer=tracer)
    stage.endpoint("a")
    (line,) = await lines(stage, 1, traceparent=traceparent)
    (span,) = tracer.spans
    assert (line["trace_id"], line["span_id"]) == (span.context.trace_id, context.attempt_span("dlv_e0", 1))
    assert span.context.span_id == line["span_id"]
