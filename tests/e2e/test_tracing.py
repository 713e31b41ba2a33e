"""One trace from a producer's header over accept, fan-out and attempts to the receiver, as a collector gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.otlp import Collector, Exported, collector, exporting_to
from tests.patience import PATIENCE_S

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


async def spans(target: Collector, enough: Callable[[list[Exported]], bool]) -> list[Exported]:
    """The spans of the collector, as soon as there are enough."""
    async with asyncio.timeout(PATIENCE_S):
        while not enough(target.spans):
            await pause(0.05)  # they come on a thread
    return sorted(target.spans, key=lambda span: span.started_ns)


async def first_delivery(running: Service, key: str) -> dict[str, Any]:
    """The tenant's only delivery, as soon as projection has written it."""
    async with asyncio.timeout(PATIENCE_S):
        while not (rows := (await running.ask("GET", "/v1/deliveries", key=key)).body["data"]):
            await pause(0.05)
    (delivery,) = rows
    return dict(delivery)


async def test_a_trace_goes_from_the_caller_to_the_receiver(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    with collector() as target:
        async with (
            service(broker.bootstrap, prefix, tmp_path, exporting_to(target)) as running,
            inbox("status:500,200") as (box, base),
        ):
            await running.add(f"{base}/standard/planted", tenant="acme", events="*")
            key = await running.key("acme")
            answer = await running.ask(
                "POST", "/v1/events", {"type": "a.b", "data": "planted"}, key=key, headers={"traceparent": TRACEPARENT}
            )
            await box.until(lambda: len(box.received) == 2)
            accept, fanout, first, second = await spans(target, lambda seen: len(seen) >= 4)
            assert [span.name for span in (accept, fanout, first, second)] == [
                f"send {prefix}events.raw",
                f"process {prefix}events.raw",
                "POST webhook",
                "POST webhook",
            ]
            assert {span.trace for span in target.spans} == {TRACE}
            assert [span.parent for span in (accept, fanout, first, second)] == [
                CALLER,
                accept.id,
                fanout.id,
                fanout.id,
            ]
            assert accept.attributes["hookstream.request.id"] == answer.headers["X-Request-Id"]
            assert accept.attributes["messaging.message.id"] == fanout.attributes["messaging.message.id"]
            assert (first.failed, first.attributes["error.type"]) == (True, "http_5xx")
            assert (second.failed, second.links) == (False, [(TRACE, first.id)])
            given = [dict(each.headers)["traceparent"] for each in box.received]
            assert given == [f"00-{TRACE}-{span.id}-01" for span in (first, second)]
            listed = await first_delivery(running, key)
            assert second.attributes["hookstream.delivery.id"] == listed["id"]
            assert "planted" not in repr(target.spans)

            async with producer(broker.bootstrap) as kafka:
                await kafka.send_and_wait(
                    f"{prefix}events.raw", b'{"type":"a.b","id":"k1","data":1,"tenant":"acme"}', key=b"acme"
                )
            *_, fanout, attempt = await spans(target, lambda seen: len(seen) >= 6)
            assert (fanout.parent, attempt.parent, attempt.trace) == ("", fanout.id, fanout.trace)
            assert fanout.trace != TRACE, "a record without a header has a trace of its own"


async def test_without_tracing_the_callers_header_reaches_the_receiver(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="*")
        key = await running.key("acme")
        for id_, given in (("traced", TRACEPARENT), ("untraced", "00-not-a-trace")):
            event = {"type": "a.b", "id": id_, "data": 1}
            await running.ask("POST", "/v1/events", event, key=key, headers={"traceparent": given})
        await box.until(lambda: len(box.received) == 2)
        got = {each.event_id: dict(each.headers).get("traceparent") for each in box.received}
        assert got == {"traced": TRACEPARENT, "untraced": None}
