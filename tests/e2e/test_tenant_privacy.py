"""Days and hidden fields of a tenant in a running service: receivers get everything, readers what the tenant allows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from aiohttp import web

from app.adapters.sql.database import FILE
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.patience import PATIENCE_S

DAY_MS = 86_400_000


async def test_old_events_are_delivered_but_not_kept_also_after_a_rebuild(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, url):
        key, theirs = await running.key("acme"), await running.key("other")
        updated = await running.cli("tenants", "update", "acme", "--retention-days", "2", "-o", "json")
        assert updated["retention_days"] == 2
        refused = await running.ask("PATCH", "/v1/tenants/acme", {"retention_days": 31})
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/retention_days")
        for each in (key, theirs):
            made = await running.ask("POST", "/v1/webhooks", {"url": f"{url}/standard", "events": ["*"]}, key=each)
            assert made.status == 201
        now_ms = round(time.time() * 1000)
        async with producer(broker.bootstrap) as kafka:
            for tenant in ("acme", "other"):
                for name, at_ms in (("old", now_ms - 3 * DAY_MS), ("new", now_ms)):
                    event = {"type": "a.b", "id": f"{tenant}-{name}", "tenant": tenant, "data": 1}
                    value = json.dumps(event).encode()
                    await kafka.send_and_wait(f"{prefix}events.raw", value, key=b"k", timestamp_ms=at_ms)
        await box.until(lambda: len(set(box.ids())) == 4)
        await until(running, theirs, "/v1/events", lambda page: len(page["data"]) == 2)
        await until(running, key, "/v1/events", lambda page: ids(page) == ["acme-new"])
        assert "Read" in await running.cli("readmodel", "rebuild")
        await until(running, theirs, "/v1/events", lambda page: len(page["data"]) == 2)
        await until(running, key, "/v1/events", lambda page: ids(page) == ["acme-new"])
        await running.cli("tenants", "update", "acme", "--clear", "retention_days", "-o", "json")
        shown = await running.ask("GET", "/v1/events", key=key)
        assert ids(shown.body) == ["acme-new"], "it is not only hidden: the rebuild has not brought it back"


async def test_hidden_fields_are_delivered_and_shown_to_nobody(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    secret = f"card-{token_hex(8)}"
    async with service(broker.bootstrap, prefix, tmp_path) as running, echo() as (received, url):
        key = await running.key("acme")
        changed = await running.cli("tenants", "update", "acme", "--redact", "card.number", "-o", "json")
        assert changed["redact"] == ["card.number"]
        made = await running.ask("POST", "/v1/webhooks", {"url": url, "events": ["*"]}, key=key)
        assert made.status == 201
        event = {"type": "a.b", "data": {"card": {"number": secret, "brand": "visa"}}}
        sent = (await running.ask("POST", "/v1/events", event, key=key)).body["id"]
        async with asyncio.timeout(PATIENCE_S):
            while not received:
                await pause(0.05)
        assert secret in received[0], "receivers get the value"
        ended = "/v1/deliveries?state=delivered"
        page = await until(running, key, ended, lambda page: bool(page["data"]))
        delivery = page["data"][0]["id"]
        for path in (f"/v1/events/{sent}", f"/v1/deliveries/{delivery}", "/v1/events", "/v1/deliveries"):
            shown = await running.ask("GET", path, key=key)
            assert shown.status == 200 and secret not in json.dumps(shown.body), path
        hidden = {"card": {"number": "[redacted]", "brand": "visa"}}
        assert (await running.ask("GET", f"/v1/events/{sent}", key=key)).body["data"] == hidden
        request = (await running.ask("GET", f"/v1/deliveries/{delivery}", key=key)).body["request"]
        assert json.loads(request["body"])["data"] == hidden
        path = f"/v1/webhooks/{made.body['id']}/preview"
        preview = await running.ask("POST", path, {"event_id": sent}, key=key)
        assert preview.status == 200 and secret not in json.dumps(preview.body)
    files = list(tmp_path.glob(f"{FILE}*"))
    assert files and not any(secret.encode() in path.read_bytes() for path in files), "nothing plain in the database"


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[list[str], str]]:
    """A receiver that answers with what it gets, and the bodies that it got."""
    received: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.text())
        return web.Response(text=received[-1], headers={"x-echo": received[-1]})

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield received, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def ids(page: Any) -> list[str]:
    return sorted(each["id"] for each in page["data"])


async def until(running: Service, key: str, path: str, condition: Any) -> Any:
    """A page, once it satisfies a condition: the read model follows the log."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            page = (await running.ask("GET", path, key=key)).body
            if "data" in page and condition(page):
                return page
            await pause(0.05)
