"""Where requests come from: published by the operator, shown to whoever sets up an endpoint."""

from __future__ import annotations

from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import KEYS, OPERATOR, browser, open_stage

PUBLISHED = ("192.0.2.7", "2001:db8::/48")


async def test_customers_see_the_addresses_in_the_form_of_an_endpoint_and_over_the_api() -> None:
    async with open_stage(egress_ips=PUBLISHED) as stage, browser(stage) as customer:
        portal = await portal_of(stage, scopes=["read", "write"])
        status, page, _ = await customer.get(f"{portal}/endpoints/new")
        assert status == 200 and all(f"<code>{each}</code>" in page for each in PUBLISHED)
        for token, status in ((KEYS["acme", "live"], 200), (OPERATOR, 200), ("sk_live_nobody", 401)):
            headers = {"authorization": f"Bearer {token}"}
            async with customer.http.get(f"{stage.url}/v1/source-addresses", headers=headers) as answer:
                assert answer.status == status
                if status == 200:
                    assert await answer.json() == {"addresses": list(PUBLISHED)}


async def test_without_published_addresses_nothing_is_claimed() -> None:
    async with open_stage() as stage, browser(stage, KEYS["acme", "live"]) as acme:
        assert "Requests come from" not in (await acme.get("/ui/t/acme/live/endpoints/new"))[1]
