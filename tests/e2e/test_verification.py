"""Nothing is delivered before a receiver has agreed: by the handshake of CloudEvents, its callback, or a challenge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.conftest import RealBroker
from tests.e2e.harness import Service, pause
from tests.patience import LOOKS, PATIENCE_S
from tests.ports import free_port
from tests.receivers.launch import cloudevents_receiver


@asynccontextmanager
async def public_service(bootstrap: str, prefix: str, folder: Path) -> AsyncIterator[Service]:
    """A service that knows its own address."""
    running = Service(bootstrap, prefix, folder)
    running.environ["HOOKSTREAM_PUBLIC_URL"] = running.api_url
    await running.cli("topics", "apply", "-o", "json")
    await running.start()
    try:
        yield running
    finally:
        if running.alive:
            assert await running.stop() == 0


async def seen(base: str) -> dict[str, list[Any]]:
    """What a receiver was asked, and what it has received."""
    async with aiohttp.ClientSession() as http, http.get(f"{base}/received") as answer:
        found: dict[str, list[Any]] = await answer.json()
        return found


async def received(base: str, number: int) -> list[dict[str, Any]]:
    """Wait for that many deliveries."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := (await seen(base))["received"]) < number:
            await pause(0.1)
    return found


async def parked(running: Service, key: str, endpoint: str, number: int) -> None:
    """Wait until the endpoint's deliveries are parked."""
    for _ in range(LOOKS):
        listed = await running.ask("GET", f"/v1/webhooks/{endpoint}/deliveries?state=paused", key=key)
        if listed.status == 200 and len(listed.body["data"]) == number:
            return
        await pause(0.1)
    raise AssertionError("the deliveries are not parked")


async def append(running: Service, key: str, *names: str) -> None:
    for name in names:
        body = {"type": "a.b", "id": name, "ordering_key": "k", "data": {}}
        sent = await running.ask("POST", "/v1/events", body, key=key)
        assert sent.status == 202, sent


async def test_a_receiver_of_cloudevents_gets_what_was_parked_once_it_has_agreed(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    with (
        cloudevents_receiver("https://other.example") as refusing,
        cloudevents_receiver("http://127.0.0.1") as agreeing,
    ):
        async with public_service(broker.bootstrap, prefix, tmp_path) as running:
            key = await running.key("acme")
            body = {
                "url": f"{refusing}/hooks",
                "events": ["*"],
                "verification": "cloudevents",
                "rate_limit": 50,
                "ordering": "fifo",
            }
            made = await running.ask("POST", "/v1/webhooks", body, key=key)
            assert (made.status, made.body["status"]) == (201, "unverified"), made
            id_ = made.body["id"]
            await append(running, key, "first", "second")
            await parked(running, key, id_, 2)
            before = await seen(refusing)
            assert (before["received"], len(before["asked"])) == ([], 1)
            assert before["asked"][0]["webhook-request-rate"] == "3000"

            moved = await running.ask("PATCH", f"/v1/webhooks/{id_}", {"url": f"{agreeing}/hooks"}, key=key)
            assert (moved.status, moved.body["status"]) == (200, "active"), moved
            found = await received(agreeing, 2)
            assert [each["headers"]["webhook-id"] for each in found] == ["first", "second"]
            assert {each["headers"]["webhook-request-origin"] for each in found} == {"127.0.0.1"}
            assert (await seen(refusing))["received"] == []

            back = await running.ask("PATCH", f"/v1/webhooks/{id_}", {"url": f"{refusing}/hooks"}, key=key)
            assert back.body["status"] == "unverified"
            await append(running, key, "third")
            await parked(running, key, id_, 1)
            callback = (await seen(refusing))["asked"][-1]["webhook-request-callback"]
            async with aiohttp.ClientSession() as http, http.get(callback) as answer:
                assert answer.status == 200, await answer.text()
            (third,) = await received(refusing, 1)
            assert third["headers"]["webhook-id"] == "third"


async def test_a_receiver_that_repairs_its_challenge_is_asked_again_by_command(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    echoes, requests = asyncio.Event(), list[tuple[str, str]]()

    async def hook(request: web.Request) -> web.Response:
        body = await request.json()
        requests.append((body["type"], request.headers["webhook-id"]))
        challenge = request.headers.get("webhook-challenge")
        return web.json_response({"challenge": challenge if echoes.is_set() else "?"})

    application = web.Application()
    application.router.add_post("/hooks", hook)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with public_service(broker.bootstrap, prefix, tmp_path) as running:
            key = await running.key("acme")
            file = tmp_path / "key"
            file.write_text(key)
            api = ("--url", running.api_url, "--key-file", str(file), "-o", "json")
            place = f"http://127.0.0.1:{port}/hooks"
            made = await running.cli("endpoints", "add", place, "--events", "*", "--verification", "challenge", *api)
            assert made["status"] == "unverified"
            await append(running, key, "early")
            await parked(running, key, made["id"], 1)
            await running.cli("endpoints", "verify", made["id"], *api, expect=1)
            echoes.set()
            agreed = await running.cli("endpoints", "verify", made["id"], *api)
            assert (agreed["agreed"], agreed["webhook"]["status"]) == (True, "active")
            async with asyncio.timeout(PATIENCE_S):
                while requests[-1] != ("a.b", "early"):
                    await pause(0.1)
            assert [kind for kind, _ in requests] == ["webhook.verification"] * 3 + ["a.b"]
    finally:
        await runner.cleanup()
