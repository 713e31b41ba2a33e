"""The audit log on a real Kafka: every action of a person has an entry that no later traffic removes."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any

import pytest

from tests.e2e.harness import Service, inbox, pause
from tests.patience import LOOKS

Entry = dict[str, Any]


class Auditor:
    """A tenant's key, and what its audit log says."""

    def __init__(self, service: Service, key: str) -> None:
        self._service = service
        self._key = key

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What an operation answers."""
        answer = await self._service.ask(method, path, body, key=self._key)
        assert answer.status < 300, answer
        return answer.body

    async def entries(self) -> list[Entry]:
        """All entries, the latest first, page by page."""
        found: list[Entry] = []
        path: str | None = "/v1/audit?limit=50"
        while path:
            page = await self.ask("GET", path)
            found += page["data"]
            path = page["next_cursor"] and f"/v1/audit?limit=50&cursor={page['next_cursor']}"
        return found

    async def until(self, condition: Callable[[list[Entry]], bool]) -> list[Entry]:
        """The entries, once they satisfy a condition: the read model follows the log."""
        for _ in range(LOOKS):
            found = await self.entries()
            if condition(found):
                return found
            await pause(0.05)
        raise AssertionError(found)


@pytest.fixture
async def acme(shared: Service) -> Auditor:
    """A fresh tenant."""
    return Auditor(shared, await shared.key(f"audited-{token_hex(4)}"))


async def test_traffic_of_a_tenant_displaces_no_audit_entry(acme: Auditor) -> None:
    made = await acme.ask("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/first", "events": ["a.b"]})
    endpoint = f"/v1/webhooks/{made['id']}"
    for number in range(130):
        await acme.ask("PATCH", endpoint, {"description": f"change {number}"})
    await acme.ask("DELETE", endpoint)
    found = await acme.until(lambda each: any(entry["action"] == "endpoint.remove" for entry in each))
    assert [each["action"] for each in found if each["entity"].startswith("endpoint/")] == [
        "endpoint.remove",
        *["endpoint.update"] * 130,
        "endpoint.create",
    ]
    created, first = found[131], found[130]
    assert created["after"]["url"] == "http://127.0.0.1:9/first" and created["before"] is None
    assert (first["before"], first["after"]) == ({"description": ""}, {"description": "change 0"})
    assert {each["actor"] for each in found[:132]} == {first["actor"]} and first["actor"].startswith("key_")
    assert made["secret"] not in str(found)


async def test_tests_retries_cancellations_and_portal_links_have_entries(acme: Auditor) -> None:
    async with inbox("status:500") as (box, base):
        made = await acme.ask(
            "POST", "/v1/webhooks", {"url": f"{base}/standard", "events": ["a.b"], "schedule": [0, 3600]}
        )
        await acme.ask("POST", f"/v1/webhooks/{made['id']}/test", {"type": "a.b", "data": {}})
        await acme.ask("POST", "/v1/events", {"type": "a.b", "data": {}})
        await box.until(lambda: len(box.received) == 2)
        for _ in range(LOOKS):
            waiting = (await acme.ask("GET", "/v1/deliveries?state=retrying"))["data"]
            if waiting:
                break
            await pause(0.05)
        (delivery,) = waiting
        await acme.ask("POST", f"/v1/deliveries/{delivery['id']}/cancel")
        await acme.ask("POST", "/v1/deliveries/retry", {"state": ["dead"]})
        link = (await acme.ask("POST", "/v1/portal-links", {"expires_in": 600}))["url"]
        wanted = ["portal-link.create", "deliveries.retry", "delivery.cancel", "endpoint.test", "endpoint.create"]
        found = await acme.until(lambda each: {entry["action"] for entry in each} >= set(wanted))
    of_mine = [each for each in found if each["action"] not in ("key.create", "tenant.put")]
    assert [each["action"] for each in of_mine] == wanted, "events of a service are no actions of a person"
    assert of_mine[2]["entity"] == f"delivery/{delivery['id']}" and of_mine[2]["before"] == {"state": "retrying"}
    assert link.rsplit("/", 1)[1] not in str(found), "who reads the log cannot open the portal"
