"""The snippets of docs/receivers.md behind HTTP, given what the real service sends."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import RealBroker
from tests.e2e.harness import pause, service
from tests.patience import PATIENCE_S
from tests.receivers.launch import receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KINDS = ("a.b", "c.d", "a.b", "a.b", "c.d", "c.d", "a.b")


async def told(url: str, number: int) -> dict[str, str]:
    """Event id → verdict, as soon as there are so many: a foreign process leaves no other way than to ask again."""
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as http:
        while True:
            async with http.get(url) as answer:
                said: list[tuple[str, str]] = await answer.json(content_type=None)
            if len(said) >= number:
                assert len(dict(said)) == len(said), "an event was handled twice"
                return dict(said)
            await pause(0.1)


async def test_both_receivers_detect_order_gaps_and_signatures(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    with ExitStack() as running_receivers:
        urls = {
            (name, events): running_receivers.enter_context(receiver(name, SECRET, tmp_path / f"{name}.{events}.log"))
            for name in ("inbox.py", "inbox.js")
            for events in ("*", "a.b")
        }
        async with service(broker.bootstrap, prefix, tmp_path / "data") as running:
            key = await running.key("acme")
            for (_, events), url in urls.items():
                body: dict[str, Any] = {"url": url, "events": [events], "ordering": "fifo", "secret": SECRET}
                made = await running.ask("POST", "/v1/webhooks", body, key=key)
                assert made.status == 201, made
            sent = [
                {"type": kind, "id": f"e{number}", "data": {}, "ordering_key": "naïve key"}
                for number, kind in enumerate(KINDS, 1)
            ]
            for event in [*sent, sent[0]]:  # one again: it is dropped before it is sent
                assert (await running.ask("POST", "/v1/events", event, key=key)).status == 202
            assert (
                await running.ask("POST", "/v1/events", {"type": "a.b", "data": 1, "id": "x"}, key=key)
            ).status == 202
            for (name, events), url in urls.items():
                if events == "*":
                    wanted = {event["id"]: "in order" for event in sent}
                else:
                    wanted = {"e1": "in order", "e3": "gap of 1", "e4": "in order", "e7": "gap of 2"}
                assert await told(url, len(wanted) + 1) == wanted | {"x": "without order"}, (name, events)
