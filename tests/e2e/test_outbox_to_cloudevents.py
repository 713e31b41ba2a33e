"""The way of docs/outbox-walkthrough.md: from an outbox of Debezium to a receiver of CloudEvents behind OAuth 2.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

from tests.conftest import RealBroker
from tests.core.inputs.debezium.records import recorded
from tests.e2e.test_inputs import append, create_topics, running_with
from tests.e2e.test_receiver_auth import got, until
from tests.oauth_server import AUDIENCE, CLIENT, SECRET, oauth_server

CREATED, PAID = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "16fd2706-8baf-433b-82eb-8c7fada847da"


async def test_an_outbox_row_reaches_a_receiver_of_cloudevents_behind_oauth(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}outbox.event.order"
    await create_topics(broker.bootstrap, topic)
    orders = {"name": "orders", "topics": [topic], "preset": "debezium-outbox", "tenant": {"header": "tenant"}}
    async with oauth_server() as base, running_with(broker, prefix, tmp_path, orders) as running:
        key = await running.key("acme")
        oauth = {"type": "oauth2_client_credentials", "client_id": CLIENT, "client_secret": SECRET}
        oauth |= {"token_url": f"{base}/token", "scope": "hooks.write", "audience": AUDIENCE}
        asked: dict[str, Any] = {"url": f"{base}/hook", "events": ["order.*"], "auth": oauth}
        asked |= {"filter": {"data": {"lines": {"sku": "ä"}}}}
        secrets = {}
        for envelope in ("cloudevents-structured", "cloudevents-binary"):
            made = await running.ask("POST", "/v1/webhooks", asked | {"envelope": envelope}, key=key)
            assert made.status == 201, made
            secrets[envelope] = made.body["secret"]

        records = [each for each in recorded("outbox-json") if each.topic.endswith(".order")]
        await append(broker.bootstrap, topic, records[::-1])  # the refused event comes first

        async def seen() -> list[str]:
            return sorted(await got(base, "/seen"))

        await until(seen, [CREATED, CREATED])
        forms = set()
        for each in await got(base, "/requests"):
            headers = {name.lower(): value for name, value in each["headers"].items()}
            envelope = "cloudevents-binary" if "ce-id" in headers else "cloudevents-structured"
            Webhook(secrets[envelope]).verify(each["body"], headers)
            event = from_http_event(HTTPMessage(headers, each["body"].encode()))
            assert (event.get_id(), event.get_type()) == (CREATED, "order.created")
            assert event.get_source() == "/hookstream/acme/live"
            assert event.get_data() == {"total": 99.5, "lines": [{"sku": "ä"}]}
            forms.add(envelope)
        assert forms == secrets.keys()

        async def reasons() -> list[str]:
            shown = await running.ask("GET", f"/v1/events/{PAID}", key=key)
            return [each["why"] for each in shown.body.get("endpoints", [])] if shown.status == 200 else []

        await until(reasons, ["filtered", "filtered"])
