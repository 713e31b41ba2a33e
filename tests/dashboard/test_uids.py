"""Endpoints by their uid in the dashboard: addresses lead to the endpoint's page, and the form sets the uid."""

from __future__ import annotations

from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import Browser, Stage, browser, hidden

LIVE = "/ui/t/acme/live"
FORM = {"url": "https://acme.example/in", "types": ["*"], "ordering": "none", "on_exhausted": "block"}


async def test_an_address_with_a_uid_leads_to_the_page(stage: Stage, acme: Browser) -> None:
    stage.endpoint(uid="shop")
    status, _, headers = await acme.get(f"{LIVE}/endpoints/shop?done=saved")
    assert (status, headers["Location"]) == (303, f"{LIVE}/endpoints/ep_1?done=saved")
    assert "<code>shop</code>" in (await acme.get(headers["Location"]))[1]
    assert (await acme.get(f"{LIVE}/endpoints/none"))[0] == 404
    assert "ep_1" in (await acme.get(f"{LIVE}/endpoints?q=shop"))[1]
    assert 'value="ep_1" selected' in (await acme.get(f"{LIVE}/replays/new?endpoint=shop"))[1]
    status, _, headers = await acme.post(f"{LIVE}/endpoints/shop/pause")
    assert status == 303 and (await acme.get(headers["Location"]))[0] == 303


async def test_the_form_sets_and_clears_the_uid(stage: Stage, acme: Browser) -> None:
    stage.endpoint(id_="ep_9", uid="taken")
    key = hidden((await acme.get(f"{LIVE}/endpoints/new"))[1], "key")
    created = FORM | {"profile": "standard", "key": key}
    status, page, _ = await acme.post(f"{LIVE}/endpoints", created | {"uid": "taken"})
    assert status == 409 and "is that of endpoint ep_9" in page
    assert (await acme.post(f"{LIVE}/endpoints", created | {"uid": "shop"}))[0] == 200
    made = stage.feed.directory.endpoint_named("acme", "live", "shop")
    assert made is not None
    here = f"{LIVE}/endpoints/{made.id}/settings"
    assert (await acme.post(here, FORM | {"uid": "ep_1", "version": "1"}))[0] == 422
    assert (await acme.post(here, FORM | {"uid": "", "version": "1"}))[0] == 303
    assert stage.feed.directory.endpoint_named("acme", "live", "shop") is None


async def test_customers_of_the_portal_do_not_change_it(stage: Stage) -> None:
    stage.endpoint(uid="shop")
    portal = await portal_of(stage, scopes=["read", "write"])
    async with browser(stage) as customer:
        status, _, headers = await customer.get(f"{portal}/endpoints/shop")
        assert (status, headers["Location"]) == (303, f"{portal}/endpoints/ep_1")
        page = (await customer.get(headers["Location"]))[1]
        assert 'name="uid"' not in page
        customer.csrf = hidden(page, "csrf")
        assert (await customer.post(f"{portal}/endpoints/ep_1/settings", FORM | {"uid": "x", "version": "1"}))[0] == 303
    found = stage.feed.directory.endpoint("ep_1")
    assert found is not None and (found.uid, found.version) == ("shop", 2)
