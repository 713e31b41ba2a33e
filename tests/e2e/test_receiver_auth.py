"""Deliveries to receivers that ask for credentials: an OAuth server and a receiver of others, and a TLS server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from tests.conftest import RealBroker
from tests.contracts.client_certificates import setting
from tests.contracts.test_client_identities import demanding
from tests.e2e.harness import Service, pause, service
from tests.oauth_server import AUDIENCE, CLIENT, PASSWORD, SECRET, USER, oauth_server
from tests.patience import LOOKS


async def endpoint(running: Service, key: str, url: str, auth: dict[str, Any]) -> str:
    made = await running.ask("POST", "/v1/webhooks", {"url": url, "events": ["*"], "auth": auth}, key=key)
    assert made.status == 201, made
    return str(made.body["id"])


async def event(running: Service, key: str, id_: str) -> None:
    sent = await running.ask("POST", "/v1/events", {"type": "a.b", "id": id_, "data": {}}, key=key)
    assert sent.status == 202, sent


async def got(base: str, path: str, method: str = "GET") -> Any:
    async with aiohttp.ClientSession() as http, http.request(method, base + path) as answer:
        text = await answer.text()
        return json.loads(text) if text else None


async def until(look: Callable[[], Any], wanted: Any) -> None:
    for _ in range(LOOKS):
        found = await look()
        if found == wanted:
            return
        await pause(0.05)
    raise AssertionError(f"{found} is not {wanted}")


async def test_events_arrive_where_credentials_are_asked_for(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    oauth = {"type": "oauth2_client_credentials", "client_id": CLIENT, "client_secret": SECRET, "audience": AUDIENCE}
    basic = {"type": "basic", "username": USER, "password": PASSWORD}
    async with oauth_server() as base, service(broker.bootstrap, prefix, tmp_path) as running:
        key = await running.key("acme")
        await endpoint(running, key, f"{base}/basic", basic)
        oauth |= {"token_url": f"{base}/token", "scope": "hooks.write"}
        id_ = await endpoint(running, key, f"{base}/hook", oauth)

        async def seen() -> list[str]:
            return sorted(await got(base, "/seen"))

        await event(running, key, "first")
        await until(seen, ["first", "first"])
        await got(base, "/revoke", "POST")
        await event(running, key, "second")
        await until(seen, ["first", "first", "second", "second"])
        assert await got(base, "/tokens") == 2, "the revoked one was renewed, within one attempt"

        wrong = oauth | {"client_secret": "wr0ng-s3cr3t"}
        changed = await running.ask("PATCH", f"/v1/webhooks/{id_}", {"auth": wrong}, key=key)
        assert changed.status == 200, changed
        await event(running, key, "third")

        async def attempts() -> list[tuple[str, str]]:
            path = f"/v1/webhooks/{id_}/deliveries?state=retrying"
            rows = (await running.ask("GET", path, key=key)).body["data"]
            if not rows:
                return []
            shown = (await running.ask("GET", f"/v1/deliveries/{rows[0]['id']}", key=key)).body
            return [(each["result"], each["error"]) for each in shown["attempts"]][:1]

        await until(attempts, [("token", "The token server answered 401 (invalid_client).")])
        await until(seen, ["first", "first", "second", "second", "third"])
        listed = await running.cli("endpoints", "list", "-o", "json")
        assert SECRET not in json.dumps(listed) and PASSWORD not in json.dumps(listed)
        auth = json.dumps(basic | {"password": "changed-p4ss"}).encode()
        updated = await running.cli("endpoints", "update", id_, "--auth", "@-", "-o", "json", stdin=auth)
        assert updated["auth"] == basic | {"password": "********"}


async def test_client_certificates_are_presented(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA(organization_name="clients")
    async with service(broker.bootstrap, prefix, tmp_path) as running, demanding(authority, clients) as receiver:
        key = await running.key("acme")
        url = f"https://localhost:{receiver.port}/"
        for name in ("one", "two"):
            await endpoint(running, key, url, setting(clients.issue_cert(f"{name}@x", common_name=name), authority))
        for number in range(3):
            await event(running, key, f"evt_{number}")

        async def names() -> list[str]:
            return sorted(name for _, name in receiver.seen)

        await until(names, ["one"] * 3 + ["two"] * 3)
        connections = {each: {at for at, name in receiver.seen if name == each} for each in ("one", "two")}
        assert connections["one"].isdisjoint(connections["two"])
