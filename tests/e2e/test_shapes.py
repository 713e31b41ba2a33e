"""Shapes end to end: what real requests hold, a transform that fails and is repaired, and previews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook

from app.embedded.receiver.receiver import Received
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.patience import LOOKS

DATA = b'{"id": "o1", "total": 1.10, "card": "4242", "items": [{"sku": "a", "cost": 3}]}'
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "raw": {"envelope": "raw"},
    "thin": {"envelope": "thin"},
    "structured": {"envelope": "cloudevents-structured"},
    "binary": {"envelope": "cloudevents-binary"},
    "few": {"envelope": "raw", "include_fields": ["total", "items.sku"]},
    "chat": {"envelope": "raw", "transform": "{text: join(' ', ['Order', data.id, to_string(data.total)])}"},
}


def cloud_event(received: Received) -> Any:
    headers = {name.lower(): value for name, value in received.headers.items()}
    return from_http(HTTPMessage(headers, received.body), JSONFormat())


async def dead(running: Service, key: str) -> list[dict[str, Any]]:
    """The dead deliveries, once there is one."""
    for _ in range(LOOKS):
        rows: list[dict[str, Any]] = (await running.ask("GET", "/v1/deliveries?state=dead", key=key)).body["data"]
        if rows:
            return rows
        await pause(0.1)
    return []


async def test_each_endpoint_gets_the_shape_that_it_asks_for(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        key = await running.key("acme")
        secrets = {}
        for name, settings in SETTINGS.items():
            body = {"url": f"{base}/standard/{name}", "events": ["order.*"], **settings}
            made = await running.ask("POST", "/v1/webhooks", body, key=key)
            assert made.status == 201, made
            secrets[name] = made.body["secret"]
        async with producer(broker.bootstrap) as kafka:
            value = b'{"type": "order.paid", "id": "e1", "tenant": "acme", "data": ' + DATA + b"}"
            await kafka.send_and_wait(f"{prefix}events.raw", value, key=b"acme")
        await box.until(lambda: len(box.received) == len(SETTINGS))
        received = {each.path.rsplit("/", 1)[1]: each for each in box.received}
        for name, each in received.items():
            Webhook(secrets[name]).verify(each.body, dict(each.headers))
        assert json.loads(received["plain"].body)["data"] == json.loads(DATA)
        assert received["raw"].body == DATA
        assert received["few"].body == b'{"total":1.10,"items":[{"sku":"a"}]}'
        assert received["chat"].body == b'{"text":"Order o1 1.1"}'
        for name in ("structured", "binary"):
            event = cloud_event(received[name])
            assert (event.get_id(), event.get_type(), event.get_data()) == ("e1", "order.paid", json.loads(DATA))
        thin = json.loads(received["thin"].body)
        assert "data" not in thin
        fetched = await running.ask("GET", thin["url"], key=key)
        assert fetched.status == 200 and fetched.body["data"] == json.loads(DATA)


async def test_a_transform_that_fails_is_seen_repaired_and_retried(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        added = await running.add(f"{base}/standard", tenant="acme", envelope="raw", transform="{sum: sum(data.total)}")
        key = await running.key("acme")
        event = {"type": "order.paid", "id": "e1", "data": {"total": 5}}
        assert (await running.ask("POST", "/v1/events", event, key=key)).status == 202
        (row,) = await dead(running, key)
        assert (row["result"], row["reason"]) == ("not_sent", "transform_failed")
        assert "sum() takes array-number, and the event has number there" in row["error"], row
        assert not box.received

        endpoint = f"/v1/webhooks/{added['id']}"
        refused = await running.ask("PATCH", endpoint, {"transform": "sum(data.total"}, key=key)
        assert refused.status == 422, refused
        tried = await running.ask("POST", f"{endpoint}/preview", {"transform": "{sum: data.total}"}, key=key)
        assert (tried.body["origin"], tried.body["event_id"]) == ("stored", "e1"), tried
        assert tried.body["request"]["body"] == '{"sum":5}'
        (tmp_path / "acme.key").write_text(key)
        preview = ("endpoints", "preview", added["id"], "--url", running.api_url, "--key-file", f"{tmp_path}/acme.key")
        await running.cli(*preview, expect=1)
        shown = await running.cli(*preview, "--event-id", "e1", "--transform", "{sum: data.total}", "-o", "json")
        assert shown["request"]["body"] == '{"sum":5}' and shown["request"]["headers"]["webhook-id"] == "e1"
        repaired = await running.ask("PATCH", endpoint, {"transform": "{sum: data.total}"}, key=key)
        assert repaired.status == 200, repaired
        await running.ask("POST", f"/v1/deliveries/{row['id']}/retry", key=key)
        await box.until(lambda: len(box.received) == 1)
        assert box.received[0].body == b'{"sum":5}'
