"""Each attempt has a span: below fan-out's, linked to the attempt before, and named in the request's `traceparent`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.core.tracing import context
from tests.fakes.sender import refusal
from tests.fakes.tracer import MemoryTracer
from tests.roles.dispatch.dispatch_stage import Stage, rung, url_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
async def traced() -> AsyncIterator[tuple[Stage, MemoryTracer]]:
    tracer = MemoryTracer()
    stage = Stage(tracer=tracer)
    yield stage, tracer
    await stage.stop()


async def test_attempts_are_below_fan_out_and_linked_to_the_one_before(traced: tuple[Stage, MemoryTracer]) -> None:
    stage, tracer = traced
    stage.endpoint("a")
    stage.sender.script(url_of("a"), 500, refusal("timeout"), 200)
    await stage.start()
    stage.put("a", traceparent=TRACEPARENT)
    for number, name in ((1, "5s"), (2, "5m")):
        await stage.attempts(number)
        (waiting,) = await stage.log.seen(rung(name), 1)
        assert waiting.header("traceparent") == TRACEPARENT, "the record keeps what the producer gave"
        stage.put_back(waiting)
    await stage.attempts(3)
    fanout = context.fanout_span("acme", "live", "e1", "")
    assert [(span.context.trace_id, span.parent and span.parent.span_id) for span in tracer.spans] == [
        (TRACE, fanout)
    ] * 3
    first, second, third = (span.context for span in tracer.spans)
    assert [span.links for span in tracer.spans] == [(), (first,), (second,)]
    assert [span.error for span in tracer.spans] == ["http_5xx", "timeout", None]
    assert [span.attributes["hookstream.state"] for span in tracer.spans] == ["retrying", "retrying", "delivered"]
    assert [span.attributes.get("http.response.status_code") for span in tracer.spans] == [500, None, 200]
    sent = [dict(request.headers)["traceparent"] for request in stage.sender.requests]
    assert sent == [each.traceparent for each in (first, second, third)]


async def test_a_replay_has_a_trace_of_its_own_that_links_to_the_first(traced: tuple[Stage, MemoryTracer]) -> None:
    stage, tracer = traced
    stage.endpoint("a")
    await stage.start()
    stage.put("a", traceparent=TRACEPARENT, replay_id="rpl_1")
    await stage.attempts(1)
    (span,) = tracer.spans
    assert span.parent is None and span.context.trace_id != TRACE
    (link,) = span.links
    assert (link.trace_id, link.span_id) == (TRACE, context.fanout_span("acme", "live", "e1", ""))
    assert span.attributes["hookstream.replay.id"] == "rpl_1"


async def test_what_is_not_sampled_is_still_passed_on_and_has_no_span(traced: tuple[Stage, MemoryTracer]) -> None:
    stage, tracer = traced
    stage.endpoint("a")
    await stage.start()
    stage.put("a", traceparent=TRACEPARENT[:-1] + "0")
    await stage.attempts(1)
    (request,) = stage.sender.requests
    assert dict(request.headers)["traceparent"].startswith(f"00-{TRACE}-")
    assert dict(request.headers)["traceparent"].endswith("-00")
    assert tracer.spans == []


async def test_a_span_holds_no_path_no_query_and_no_payload(traced: tuple[Stage, MemoryTracer]) -> None:
    stage, tracer = traced
    url = "https://user:planted-1@x.example:8443/planted-2?key=planted-3"
    stage.endpoint("a", url=url, headers={"authorization": "planted-4"})
    await stage.start()
    stage.put("a", body=b'{"type":"a.b","data":"planted-5"}')
    await stage.attempts(1)
    (span,) = tracer.spans
    shown: dict[str, Any] = dict(span.attributes)
    assert "planted" not in repr(span)
    assert (shown["server.address"], shown["server.port"], shown["url.scheme"]) == ("x.example", 8443, "https")


async def test_no_request_no_span(traced: tuple[Stage, MemoryTracer]) -> None:
    stage, tracer = traced
    stage.endpoint("a", status="disabled")
    await stage.start()
    stage.put("a")
    await stage.attempts(1)
    assert tracer.spans == []
