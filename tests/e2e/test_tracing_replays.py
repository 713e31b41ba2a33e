"""The spans of a replay and of a test event, as a collector gets them over gRPC."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, service
from tests.e2e.test_tracing import CALLER, TRACE, TRACEPARENT, spans
from tests.otlp import Exported, exporting_to, grpc_collector


def _triggered(seen: list[Exported], trigger: str) -> Exported:
    """The one attempt that was made for this reason."""
    (span,) = (each for each in seen if each.attributes.get("hookstream.trigger") == trigger)
    return span


async def test_a_replay_links_to_the_first_trace_and_a_test_has_its_callers(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    with grpc_collector() as target:
        settings = exporting_to(target) | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        async with (
            service(broker.bootstrap, prefix, tmp_path, settings) as running,
            inbox("status:200,500,200") as (box, base),
        ):
            await running.add(f"{base}/standard", tenant="acme", events="*")
            key = await running.key("acme")
            trace = {"traceparent": TRACEPARENT}
            await running.ask("POST", "/v1/events", {"type": "a.b", "data": 1}, key=key, headers=trace)
            await spans(target, lambda seen: len(seen) >= 3)
            answer = await running.ask("POST", "/v1/replays", {"from": "begin"}, key=key)
            assert answer.status == 202, answer
            seen = await spans(target, lambda seen: len(seen) >= 5)
            (fanout,) = (span for span in seen if span.name.startswith("process "))
            first, failed, repeated = (_triggered(seen, trigger) for trigger in ("first", "replay", "retry"))
            assert failed.trace not in ("", TRACE), "a replay has a trace of its own"
            assert (failed.parent, failed.links, failed.failed) == ("", [(TRACE, fanout.id)], True)
            assert (repeated.parent, repeated.trace) == (failed.id, failed.trace)
            assert repeated.links == [(failed.trace, failed.id), (TRACE, fanout.id)]
            assert {span.attributes.get("hookstream.replay.id") for span in (failed, repeated)} == {answer.body["id"]}

            (webhook,) = (await running.ask("GET", "/v1/webhooks", key=key)).body["data"]
            sent = await running.ask(
                "POST", f"/v1/webhooks/{webhook['id']}/test", {"type": "a.b"}, key=key, headers=trace
            )
            test = _triggered(await spans(target, lambda seen: len(seen) >= 6), "test")
            assert (test.name, test.trace, test.parent, test.links) == ("POST webhook", TRACE, CALLER, [])
            assert test.attributes["hookstream.request.id"] == sent.headers["X-Request-Id"]
            given = [dict(each.headers)["traceparent"] for each in box.received]
            assert given == [f"00-{span.trace}-{span.id}-01" for span in (first, failed, repeated, test)]
