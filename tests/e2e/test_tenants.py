"""Tenants of a running service: changed by API and command line, and deleted with all that they have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from app.adapters.clock import SystemClock
from app.adapters.kafka.command_client import CommandClient
from app.core.model.endpoint import Endpoint
from app.core.records.command import CreateEndpoint
from tests.e2e.harness import ADMIN_TOKEN, Service, inbox, pause, read
from tests.e2e.test_cli_api import Commands
from tests.kafka import clients_at
from tests.patience import PATIENCE_S


@pytest.fixture
async def operator(shared: Service, tmp_path: Path) -> Commands:
    return Commands(shared.api_url, ADMIN_TOKEN, tmp_path)


async def test_metadata_is_set_changed_and_kept(shared: Service, operator: Commands) -> None:
    name = f"acme-{token_hex(4)}"
    added = await operator("tenants", "add", name, "--name", "Acme", "--label", "plan=gold", "--label", "crm=7")
    assert added["metadata"] == {"plan": "gold", "crm": "7"}
    changed = await operator("tenants", "update", name, "--notify-email", "ops@acme.example")
    assert (changed["metadata"], changed["name"], changed["version"]) == (added["metadata"], "Acme", 2)
    stale = await operator("tenants", "update", name, "--name", "x", "--expect-version", "1", expect=3)
    assert "refused (conflict)" in stale.err
    over_kafka = await shared.cli("tenants", "update", name, "--label", "plan=free", "-o", "json")
    assert (over_kafka["metadata"], over_kafka["notify_emails"]) == ({"plan": "free"}, ["ops@acme.example"])
    patched = await shared.ask("PATCH", f"/v1/tenants/{name}", {"metadata": {}})
    assert (patched.status, patched.body["metadata"], patched.body["name"]) == (200, {}, "Acme")


async def test_a_deleted_tenant_has_nothing_and_its_deliveries_are_cancelled(
    shared: Service, operator: Commands
) -> None:
    name, other = f"acme-{token_hex(4)}", f"other-{token_hex(4)}"
    key, theirs = await shared.key(name), await shared.key(other)
    async with inbox("status:500") as (failing, failing_url), inbox() as (box, url):
        slow = {"url": f"{failing_url}/standard", "events": ["*"], "schedule": [0, 40], "uid": "slow"}
        first = await shared.ask("POST", "/v1/webhooks", slow, key=key)
        await shared.ask("POST", "/v1/webhooks", slow | {"uid": "fifo", "ordering": "fifo"}, key=key)
        await shared.ask("POST", "/v1/webhooks", {"url": f"{url}/standard", "events": ["*"], "uid": "slow"}, key=theirs)
        await shared.ask("PUT", "/v1/event-types/own.type", {"description": "its own"}, key=key)
        for _ in range(3):
            body = {"type": "a.b", "data": 1, "ordering_key": "one"}
            assert (await shared.ask("POST", "/v1/events", body, key=key)).status == 202
        sent = await shared.ask("POST", "/v1/events", {"type": "a.b", "data": 1}, key=theirs)
        await failing.until(lambda: len(failing.received) == 4)

        deleted = (await shared.ask("DELETE", f"/v1/tenants/{name}")).body
        assert (deleted["id"], deleted["remaining"]) == (name, 0)
        assert await operator("tenants", "remove", name, "--yes") == deleted, "a repetition changes nothing"
        assert (await shared.ask("GET", "/v1/webhooks", key=key)).status == 401
        keys = f"/v1/tenants/{name}/keys"
        changes: Any = (("POST", keys, {"mode": "live"}), ("PUT", f"/v1/tenants/{name}", {"id": name}))
        for method, path, body in changes:
            answer = await shared.ask(method, path, body)
            assert (answer.status, answer.body["type"]) == (409, "urn:hookstream:problem:tenant_deleted")
        again = await shared.ask("POST", "/v1/tenants", {"id": name})
        assert (again.status, again.body["type"]) == (409, "urn:hookstream:problem:tenant_deleted")
        shown = (await shared.ask("GET", f"/v1/tenants/{name}")).body
        assert shown["deleted_at"] == deleted["deleted_at"]
        assert name not in [each["id"] for each in await operator("tenants", "list")]

        mine = first.body["id"].encode()
        ended = await read(
            shared.bootstrap,
            f"{shared.prefix}attempts",
            lambda records: sum(each.key == mine and b'"endpoint_removed"' in each.value for each in records) == 3,
        )
        assert all(b'"state":"cancelled"' in each.value for each in ended if b'"endpoint_removed"' in each.value)

        acting = {"Hookstream-Tenant": name}
        for path in ("/v1/deliveries", "/v1/events"):
            await until(shared, "", path, lambda page: page["data"] == [], headers=acting)
        audited = await until(shared, "", "/v1/audit", lambda page: bool(page["data"]), headers=acting)
        assert audited["data"][0]["action"] == "tenant.delete"
        assert audited["data"][0]["detail"] == "2 endpoints, 1 keys and 1 event types with it"

        await box.until(lambda: sent.body["id"] in box.ids("/standard"))
        assert (await shared.ask("GET", "/v1/webhooks/slow", key=theirs)).status == 200
        found = await until(shared, theirs, "/v1/deliveries", lambda page: bool(page["data"]))
        assert [each["event_id"] for each in found["data"]] == [sent.body["id"]]


async def test_a_tenant_with_thousands_of_endpoints_is_deleted_over_kafka(shared: Service) -> None:
    """The registry carries out other commands meanwhile."""
    name = f"large-{token_hex(4)}"
    key = await shared.key(name)
    commands = CommandClient(
        clients_at(shared.bootstrap),
        commands=f"{shared.prefix}registry.commands",
        replies=f"{shared.prefix}registry.replies",
        client_id="test",
        clock=SystemClock(),
    )
    await commands.start()
    try:
        for begin in range(0, 2_500, 250):
            created = [CreateEndpoint(endpoint(f"ep_{name}_{number}", name)) for number in range(begin, begin + 250)]
            await asyncio.gather(*(commands.call(each, entity=each.endpoint.id, timeout_s=60) for each in created))
    finally:
        await commands.stop()
    assert (await shared.ask("GET", "/v1/webhooks", key=key)).body["next_cursor"] is not None
    removed, other = await asyncio.gather(
        shared.cli("tenants", "remove", name, "--yes", "-o", "json"), shared.key(f"other-{token_hex(4)}")
    )
    assert removed["id"] == name and other
    deleted = await shared.ask("DELETE", f"/v1/tenants/{name}")
    assert (deleted.status, deleted.body["remaining"]) == (200, 0)
    assert not list(await shared.cli("endpoints", "list", "--tenant", name, "-o", "json"))


def endpoint(id_: str, tenant: str) -> Endpoint:
    url = "https://acme.example/hooks"
    return Endpoint(id=id_, tenant=tenant, mode="live", url=url, events=("never.sent",), profile="efficlose")


async def until(shared: Service, key: str, path: str, condition: Any, headers: Any = None) -> Any:
    """A page, once it satisfies a condition: the read model follows the log."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            page = (await shared.ask("GET", path, key=key, headers=headers)).body
            if "data" in page and condition(page):
                return page
            await pause(0.05)
