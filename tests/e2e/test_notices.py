"""Notices end to end: five failures, the endpoint is off, its owner has e-mail and its operators a signed webhook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import RealBroker
from tests.contracts.mail_kit import Postbox, running
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.e2e.test_health import until
from tests.ports import free_port


def settings(port: int) -> dict[str, str]:
    return {
        "HOOKSTREAM_TIME_SCALE": "0.001",
        "HOOKSTREAM_SMTP_URL": f"smtp://127.0.0.1:{port}",
        "HOOKSTREAM_MAIL_FROM": "Hookstream <noreply@hooks.example.com>",
        "HOOKSTREAM_NOTIFY_DIGEST_SECONDS": "2",
        "HOOKSTREAM_NOTIFY_COOLDOWN_SECONDS": "0",
    }


async def register(running_: Service, url: str, events: Any = "*", **more: Any) -> tuple[str, str]:
    """(key, endpoint) of a VoxScriber tenant that wants e-mail."""
    await running_.ask(
        "POST", "/v1/tenants", {"id": "vox", "profile": "voxscriber", "notify_emails": ["ops@vox.example"]}
    )
    key = await running_.key("vox", profile="voxscriber")
    made = await running_.ask("POST", "/v1/webhooks", {"url": url, "events": events, **more}, key=key)
    assert made.status == 201, made
    return key, made.body["id"]


async def append(running_: Service) -> None:
    async with producer(running_.bootstrap) as kafka:
        event = {"type": "upload.completed", "id": "evt_1", "data": {}, "tenant": "vox"}
        await kafka.send_and_wait(f"{running_.prefix}events.raw", json.dumps(event).encode(), key=b"vox")


async def test_voxscriber_auto_disable_with_email(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    box = Postbox()
    async with (
        running(box) as port,
        service(broker.bootstrap, prefix, tmp_path, settings(port)) as hookstream,
        inbox() as (seen, base),
    ):
        key, _ = await register(hookstream, f"{base}/voxscriber/ops", ["hookstream.*"])
        forged = {"type": "hookstream.endpoint.disabled", "data": {}}
        assert (await hookstream.ask("POST", "/v1/events", forged, key=key)).status == 422
        hostile = "<b>x</b>\r\nBcc: all@vox.example"
        _, failing = await register(hookstream, f"{base}/voxscriber/a?fault=status:500", description=hostile)
        await append(hookstream)
        await box.until(lambda: any("disabled" in str(message["Subject"]) for _, message, _ in box.taken))
        for recipients, message, _ in box.taken:
            assert recipients == ["ops@vox.example"] and message["Bcc"] is None
        text = "\n".join(box.texts())
        assert failing in text and "5 times in a row" in text and "recover the events that it missed" in text
        await until(hookstream, key, failing, status="disabled")
        told = "/voxscriber/ops"
        await seen.until(lambda: sum(each.path == told for each in seen.received) >= 4)
        types = [json.loads(each.body)["type"] for each in seen.received if each.path == told]
        assert sorted(set(types)) == [
            "hookstream.delivery.dead",
            "hookstream.endpoint.disabled",
            "hookstream.endpoint.failing",
        ]
        assert all("x-webhook-signature" in each.headers for each in seen.received if each.path == told)
        await unsubscribe(hookstream, str(box.taken[-1][1]["List-Unsubscribe"]))


async def unsubscribe(hookstream: Service, header: str) -> None:
    """Follow the link: looking changes nothing, one click does."""
    link = re.fullmatch(r"<(.+)>", header)
    assert link is not None and link[1].startswith(hookstream.api_url)

    async def addresses() -> list[str]:
        found: list[str] = (await hookstream.ask("GET", "/v1/tenants/vox")).body["notify_emails"]
        return found

    async with aiohttp.ClientSession() as http:
        async with http.get(link[1]) as page:
            assert page.status == 200 and "ops@vox.example" in await page.text()
        async with http.post(link[1][:-4]) as broken:
            assert broken.status == 400
        assert await addresses() == ["ops@vox.example"]
        async with http.post(link[1], data={"List-Unsubscribe": "One-Click"}) as done:
            assert done.status == 200
        assert await addresses() == []


async def test_notices_outlive_an_outage_of_the_mail_server_and_a_kill_9(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    port = free_port()
    hookstream = Service(broker.bootstrap, prefix, tmp_path, settings(port))
    await hookstream.cli("topics", "apply", "-o", "json")
    await hookstream.start()
    async with inbox() as (_, base):
        _, failing = await register(hookstream, f"{base}/voxscriber/a?fault=status:500")
        await append(hookstream)
        while 'emails_total{result="later"}' not in await hookstream.metrics():
            await pause(0.1)
        hookstream.kill()
        await hookstream.ended()
        box = Postbox()
        async with running(box, port=port):
            await hookstream.start()
            await box.until(lambda: any("disabled" in text for text in box.texts()))
            assert failing in box.texts()[0]
            said = await hookstream.metrics()
            assert 'emails_total{result="later"}' not in said
            assert await hookstream.stop() == 0
            ids = [str(message["Message-ID"]) for _, message, _ in box.taken]
            assert len(ids) == len(set(ids))
