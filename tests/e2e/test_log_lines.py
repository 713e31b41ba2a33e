"""The log of a whole round at debug: JSON alone, no secret and no payload, and joined to traces and attempts by ids."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import ADMIN_TOKEN, Service, inbox, pause, producer
from tests.otlp import collector
from tests.patience import PATIENCE_S

_OWN = "whsec_bXktb3duLXNlY3JldC1vZi0yNC1ieXRlcyEh"


async def _round(running: Service, base: str) -> tuple[str, str, str]:
    """What a customer and an upstream do, with secrets in every place; the key, an id of a request and of its event."""
    key = await running.key("acme")
    endpoint = {
        "url": f"{base}/standard/planted-path?planted=query",
        "events": "*",
        "secret": _OWN,
        "headers": {"authorization": "planted-header"},
        "description": "planted-description",
        "metadata": {"label": "planted-label"},
    }
    made = await running.ask("POST", "/v1/webhooks", endpoint, key=key)
    path = f"/v1/webhooks/{made.body['id']}"
    for method, where, body in (
        ("POST", f"{path}/test", None),
        ("PATCH", path, {"description": "planted-description-2"}),
        ("POST", f"{path}/rotate-secret", None),
        ("POST", "/v1/webhooks", {"url": 1, "secret": _OWN, "planted": 1}),
        ("POST", "/v1/events", {"type": "a b", "data": "planted-invalid"}),
        ("GET", "/v1/deliveries?planted=1", None),
    ):
        await running.ask(method, where, body, key=key)
    await running.ask("GET", "/v1/webhooks", key=f"{key}-planted")
    sent = await running.ask("POST", "/v1/events", {"type": "a.b", "id": "e1", "data": {"x": "planted-data"}}, key=key)
    async with producer(running.bootstrap) as kafka:
        for value in (b'{"type":"a.b","id":"k1","data":"planted-data","tenant":"acme"}', b"planted-garbage"):
            await kafka.send_and_wait(f"{running.prefix}events.raw", value, key=b"acme")
    return key, sent.headers["X-Request-Id"], sent.body["id"]


async def _listed(running: Service, key: str, event_id: str) -> list[Any]:
    """The deliveries of an event, as soon as the read model has them."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await running.ask("GET", f"/v1/deliveries?event={event_id}", key=key)
            if answer.body["data"]:
                found: list[Any] = answer.body["data"]
                return found
            await pause(0.1)


async def test_no_line_of_a_whole_round_holds_a_secret_or_a_payload(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with collector() as target:
        settings = {
            "HOOKSTREAM_LOG_LEVEL": "debug",
            "HOOKSTREAM_TIME_SCALE": "0.001",
            "HOOKSTREAM_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": target.url,
        }
        running = Service(broker.bootstrap, prefix, tmp_path / "data", settings)
        await running.cli("topics", "apply")
        with log.open("wb") as running.output:
            await running.start()
            async with inbox("status:500,200") as (box, base):
                key, request_id, event_id = await _round(running, base)
                await box.until(lambda: {"e1", "k1"} <= {each.event_id for each in box.received if each.status == 200})
                listed = await _listed(running, key, event_id)
            assert await running.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    secrets = ("planted", _OWN, "my-own-secret", key, ADMIN_TOKEN, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
    for line in lines:
        assert {"event", "level", "timestamp"} <= line.keys()
        assert not [secret for secret in secrets if secret in json.dumps(line)], line
    (accepted,) = [line for line in lines if line["event"] == "events.accepted"]
    assert (accepted["request"], accepted["event_id"]) == (request_id, event_id)
    attempts = [line for line in lines if line["event"] == "delivery.attempt" and line["event_id"] == event_id]
    assert {line["delivery"] for line in attempts} == {listed[0]["id"]}
    assert {line["trace_id"] for line in attempts} == {accepted["trace_id"]}
    spans = {span.id: span for span in target.spans}
    for line in attempts:
        assert spans[line["span_id"]].attributes["hookstream.delivery.id"] == line["delivery"]
    assert attempts[-1]["state"] == "delivered" and attempts[-1]["level"] == "debug"
    changed = {line["action"] for line in lines if line["event"] == "registry.changed"}
    assert changed >= {"tenant.put", "key.create", "endpoint.create", "endpoint.update", "endpoint.rotate"}
