"""Pull endpoints over a real Kafka: redelivery until a commit, waits, streams, and Kafka's own view of a commit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from httpx_sse import aconnect_sse
from standardwebhooks import Webhook

from tests.conftest import RealBroker
from tests.e2e.harness import Service, pause, producer, service
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


class Puller:
    """A receiver that knows only HTTP."""

    def __init__(self, http: httpx.AsyncClient, path: str) -> None:
        self.http = http
        self.path = path

    async def page(self, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(self.path, params=query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    async def commit(self, cursor: str) -> dict[str, Any]:
        answer = await self.http.post(f"{self.path}/commit", json={"cursor": cursor})
        assert answer.status_code == 200, answer.text
        position: dict[str, Any] = answer.json()
        return position

    async def until(self, number: int, cursor: str | None = None) -> list[dict[str, Any]]:
        """So many events, without a commit."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < number:
                query = {"cursor": cursor} if cursor else {}
                page = await self.page(wait=20, limit=2, **query)
                found, cursor = found + page["data"], page["cursor"]
        return found

    async def replayed(self, number: int) -> list[dict[str, Any]]:
        """So many events of a replay; the restart may have repeated others."""
        page = await self.page()
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found += [each for each in page["data"] if "webhook-replay" in each["headers"]]
                if len(found) >= number:
                    return found
                page = await self.page(wait=20, cursor=page["cursor"])


@asynccontextmanager
async def puller_of(running: Service, key: str, endpoint: str) -> AsyncIterator[Puller]:
    """A receiver with a connection of its own."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S) as http:
        yield Puller(http, f"{running.api_url}/v1/webhooks/{endpoint}/events")


async def append(kafka: AIOKafkaProducer, running: Service, *names: str) -> None:
    for name in names:
        event = {"type": "a.b", "id": name, "data": {"n": name}, "tenant": "acme", "ordering_key": "k"}
        await kafka.send_and_wait(f"{running.prefix}events.raw", json.dumps(event).encode(), key=b"acme")


async def registered(running: Service, key: str, **more: Any) -> dict[str, Any]:
    body = {"kind": "pull", "events": ["*"], "ordering": "fifo", **more}
    answer = await running.ask("POST", "/v1/webhooks", body, key=key)
    assert answer.status == 201, answer
    endpoint: dict[str, Any] = answer.body
    return endpoint


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in found]


async def test_events_are_pulled_again_until_they_are_committed(
    broker: RealBroker, kafka: AIOKafkaProducer, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, "pulled.", tmp_path) as running:
        key = await running.key("acme")
        first, second = await registered(running, key), await registered(running, key, channels=["eu"])
        async with (
            puller_of(running, key, first["id"]) as some,
            puller_of(running, key, second["id"]) as others,
        ):
            waiting = asyncio.ensure_future(some.until(1))
            await append(kafka, running, "e1", "e2", "e3")
            assert ids(await waiting)[0] == "e1", "the wait ends with the first event"
            found = await some.until(3)
            assert ids(found) == ["e1", "e2", "e3"]
            assert ids(await some.until(3)) == ["e1", "e2", "e3"], "nothing is committed"
            assert (await others.page())["data"] == [], "its channels are others"

            page = await some.page(format="text", limit=1)
            (event,) = page["data"]
            assert Webhook(first["secret"]).verify(event["body"], event["headers"])["id"] == "e1"

            await some.commit(found[1]["cursor"])
            running.kill()
            await running.ended()
            await running.start()
            after = await some.until(1)
            assert after[0]["id"] == "e3", "the commit has survived"
            assert after[0]["cursor"] == found[2]["cursor"]
            await some.commit(found[2]["cursor"])

            group = f"pulled.hookstream.pull.{first['id']}"
            admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
            await admin.start()
            try:
                ((place, commit),) = (await admin.list_consumer_group_offsets(group)).items()
            finally:
                await admin.close()
            assert (place.topic, commit.offset) == ("pulled.deliveries.pull", 3), "as Kafka's own tools see it"

            replay = await running.ask("POST", "/v1/replays", {"from": "begin", "endpoint": first["id"]}, key=key)
            assert replay.status == 202, replay
            assert ids(await some.replayed(3)) == ["e1", "e2", "e3"]

            story = await delivery(running, key, first["id"])
            assert (story["state"], story["result"]) == ("delivered", "available")
            deleted = await running.ask("DELETE", f"/v1/webhooks/{first['id']}", key=key)
            assert deleted.status == 204
            assert (await some.http.get(some.path)).status_code == 404


async def delivery(running: Service, key: str, endpoint: str) -> dict[str, Any]:
    """A delivery of the endpoint, once the read model has it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await running.ask("GET", f"/v1/webhooks/{endpoint}/deliveries?state=delivered", key=key)
            if answer.status == 200 and answer.body["data"]:
                found: dict[str, Any] = answer.body["data"][0]
                return found
            await pause(0.05)  # the read model follows; the API has no other way


async def test_a_stream_continues_behind_the_last_event(shared: Service, kafka: AIOKafkaProducer) -> None:
    key = await shared.key("acme")
    endpoint = await registered(shared, key)
    async with puller_of(shared, key, endpoint["id"]) as puller:
        await append(kafka, shared, "s1", "s2")
        last = ""
        for expected in ("s1", "s2"):
            headers = {"Last-Event-ID": last} if last else {}
            async with aconnect_sse(puller.http, "GET", puller.path, headers=headers) as source:
                async for message in source.aiter_sse():
                    if message.event == "event":
                        assert json.loads(message.data)["id"] == expected
                        last = message.id
                        break
        async with aconnect_sse(puller.http, "GET", puller.path, headers={"Last-Event-ID": last}) as source:
            messages = source.aiter_sse()
            assert (await anext(messages)).event == "ready"
            await append(kafka, shared, "s3")
            async for message in messages:
                if message.event == "event":
                    assert json.loads(message.data)["id"] == "s3"
                    break
            disabled = await shared.ask("POST", f"/v1/webhooks/{endpoint['id']}/disable", key=key)
            assert disabled.status == 200
            await append(kafka, shared, "s4")
            async for message in messages:
                if message.event == "end":
                    assert json.loads(message.data)["reason"] == "disabled"
                    break
        await shared.ask("DELETE", f"/v1/webhooks/{endpoint['id']}", key=key)
