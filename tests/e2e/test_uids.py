"""Endpoints by their uid, as customers use them: over HTTP, by commands with and without an API, and in replays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from secrets import token_hex

import pytest

from tests.e2e.harness import Service, inbox
from tests.e2e.test_cli_api import Commands


@pytest.fixture
async def key(shared: Service) -> str:
    """A key of a fresh tenant."""
    return await shared.key(f"acme-{token_hex(4)}")


async def test_a_uid_works_wherever_the_id_does(shared: Service, key: str) -> None:
    async with inbox() as (box, base):
        body = {"url": f"{base}/standard", "events": ["*"], "uid": "shop"}
        made = await shared.ask("POST", "/v1/webhooks", body, key=key)
        assert (made.status, made.body["uid"]) == (201, "shop")
        id_ = made.body["id"]
        for path in ("", "/stats", "/deliveries"):
            assert (await shared.ask("GET", f"/v1/webhooks/shop{path}", key=key)).status == 200
        assert (await shared.ask("POST", "/v1/webhooks/shop/test", key=key)).body["ok"]
        assert (await shared.ask("POST", "/v1/webhooks/shop/rotate-secret", key=key)).body["id"] == id_
        sent = await shared.ask("POST", "/v1/events", {"type": "a.b", "data": 1}, key=key)
        await box.until(lambda: sent.body["id"] in box.ids("/standard"))
        replay = await shared.ask("POST", "/v1/replays", {"from": "1h", "endpoint": "shop"}, key=key)
        assert (replay.status, replay.body["endpoint"]) == (202, id_)
        await box.until(lambda: box.ids("/standard").count(sent.body["id"]) == 2)
        moved = await shared.ask("PATCH", "/v1/webhooks/shop", {"uid": "store"}, key=key)
        assert (moved.body["id"], moved.body["uid"]) == (id_, "store")
        assert (await shared.ask("GET", "/v1/webhooks/shop", key=key)).status == 404
        assert (await shared.ask("DELETE", "/v1/webhooks/store", key=key)).status == 204
        assert (await shared.ask("POST", "/v1/webhooks", body | {"uid": "store"}, key=key)).status == 201


async def test_of_requests_at_the_same_time_one_gets_the_uid(shared: Service, key: str) -> None:
    body = {"url": "https://acme.example/hooks", "events": ["*"], "uid": "shop"}
    answers = await asyncio.gather(*(shared.ask("POST", "/v1/webhooks", body, key=key) for _ in range(8)))
    assert sorted(each.status for each in answers) == [201, *[409] * 7]
    (made,) = (each.body for each in answers if each.status == 201)
    for refused in (each.body for each in answers if each.status == 409):
        assert refused["type"] == "urn:hookstream:problem:uid_taken"
        assert refused["detail"] == f"uid: shop is that of endpoint {made['id']}: choose another one"
        assert [each["pointer"] for each in refused["errors"]] == ["/uid"]
    assert len((await shared.ask("GET", "/v1/webhooks", key=key)).body["data"]) == 1
    other = await shared.key(f"other-{token_hex(4)}")
    assert (await shared.ask("GET", "/v1/webhooks/shop", key=other)).status == 404
    assert (await shared.ask("POST", "/v1/webhooks", body, key=other)).status == 201


async def test_commands_take_the_uid_with_and_without_an_api(shared: Service, key: str, tmp_path: Path) -> None:
    uid = f"shop-{token_hex(4)}"
    acme = Commands(shared.api_url, key, tmp_path)
    made = await acme("endpoints", "add", "https://acme.example/hooks", "--uid", uid)
    assert (await acme("endpoints", "show", uid))["id"] == made["id"]
    assert (await acme("endpoints", "pause", uid))["status"] == "paused"
    assert await acme("deliveries", "list", "--endpoint", uid) == []
    assert (await shared.cli("endpoints", "show", uid, "-o", "json"))["id"] == made["id"]
    assert await shared.cli("ordering", "show", uid, "-o", "json") == []
    other = await shared.add("https://other.example/hooks", tenant=f"other-{token_hex(4)}", uid=uid)
    assert other["id"] in await shared.cli("endpoints", "show", uid, expect=3)
    changed = await shared.cli("endpoints", "update", other["id"], "--clear", "uid", "-o", "json")
    assert changed["uid"] is None
    assert (await shared.cli("endpoints", "update", uid, "--description", "mine", "-o", "json"))["id"] == made["id"]
    taken = ("endpoints", "add", "https://acme.example/hooks", "--uid", uid)
    assert "is that of endpoint" in (await acme(*taken, expect=3)).err
    await shared.cli("endpoints", "remove", uid)
    assert (await acme("endpoints", "show", uid, expect=3)).code == 3
