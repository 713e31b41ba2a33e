"""Fan-out exports one span for each event, whatever the slices, and plans as it does without tracing."""

from __future__ import annotations

import msgspec

from app.core.tracing import context
from app.roles.fanout.rules import FanoutRules
from tests.fakes.log import MemoryRecord
from tests.fakes.tracer import MemoryTracer
from tests.roles.fanout.test_role import RULES, Stage, endpoint, event

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def planned(rules: FanoutRules, *records: MemoryRecord, tracer: MemoryTracer | None) -> Stage:
    stage = Stage(rules, tracer)
    stage.start()
    await stage.app.acked(stage.give(*records))
    await stage.stop()
    return stage


async def test_each_event_has_a_span_below_its_producers() -> None:
    tracer = MemoryTracer()
    given = event(0)
    given.headers.append(("traceparent", TRACEPARENT.encode()))
    rejected = MemoryRecord("events.raw", 0, 2, 0, None, b"no event", [])
    await planned(RULES, given, event(1), rejected, event(3, tenant="nobody"), tracer=tracer)
    first, second, third = tracer.spans
    assert first.parent == context.read(TRACEPARENT)
    assert first.context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert first.context.span_id == context.fanout_span("default", "live", "e0", "")
    assert (first.name, first.kind, first.error, first.links) == ("process events.raw", "consumer", None, ())
    shown = first.attributes
    assert (shown["messaging.kafka.offset"], shown["messaging.message.id"], shown["hookstream.deliveries"]) == (
        0,
        "e0",
        2,
    )
    assert second.parent is None and second.context.trace_id != first.context.trace_id
    assert (third.attributes["hookstream.tenant"], third.attributes["hookstream.deliveries"]) == ("nobody", 0)


async def test_what_the_producer_does_not_sample_has_no_span() -> None:
    tracer, given = MemoryTracer(), event(0)
    given.headers.append(("traceparent", (TRACEPARENT[:-1] + "0").encode()))
    await planned(RULES, given, tracer=tracer)
    assert tracer.spans == []


async def test_an_event_over_several_slices_has_one_span_and_the_same_deliveries_as_without() -> None:
    tracer = MemoryTracer()
    rules = msgspec.structs.replace(RULES, slice_outputs=3, whole_outputs=1)
    stages = [Stage(rules, each) for each in (tracer, None)]
    for stage in stages:
        for number in range(20):
            stage.feed.directory.put_endpoint(endpoint(f"more{number:02}"))
        stage.start()
        await stage.app.acked(stage.give(event(0), event(1)))
        await stage.stop()
    traced, plain = ([(each.key, each.value, each.headers) for each in stage.log.of("deliveries")] for stage in stages)
    assert traced == plain and len(traced) == 44
    assert [span.attributes["messaging.message.id"] for span in tracer.spans] == ["e0", "e1"]
    assert [span.attributes["hookstream.deliveries"] for span in tracer.spans] == [22, 22]
