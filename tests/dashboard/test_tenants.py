"""The operator's page of a tenant: metadata is edited there, and a deletion asks for the tenant's id."""

from __future__ import annotations

from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import KEYS, Browser, Stage, browser

FORM = {"name": "Acme", "profile": "standard", "notify_emails": ""}


async def test_metadata_is_shown_and_saved(stage: Stage, operator: Browser) -> None:
    saved = await operator.post("/ui/tenants/acme", FORM | {"metadata": "plan=gold\ncrm = 7 = x\n\n"})
    assert saved[0] == 303
    assert stage.feed.directory.tenants["acme"].metadata == {"plan": "gold", "crm": "7 = x"}
    page = (await operator.get("/ui/tenants/acme"))[1]
    assert "plan=gold" in page and "crm=7 = x" in page
    status, page, _ = await operator.post("/ui/tenants/acme", FORM | {"metadata": "nothing"})
    assert status == 422 and "write name=value" in page


async def test_a_tenant_is_deleted_once_its_id_was_typed(stage: Stage, operator: Browser) -> None:
    stage.endpoint()
    portal = await portal_of(stage)
    async with browser(stage, KEYS["acme", "live"]) as acme, browser(stage) as customer:
        assert (await acme.get("/ui/t/acme/live/overview"))[0] == (await customer.get(f"{portal}/overview"))[0] == 200
        status, page, _ = await operator.post("/ui/tenants/acme/delete", {"confirm": "acm"})
        assert status == 422 and "type the id" in page and "acme" in stage.feed.directory.tenants
        status, _, headers = await operator.post("/ui/tenants/acme/delete", {"confirm": "acme"})
        assert (status, headers["Location"]) == (303, "/ui/tenants?done=tenant_deleted")
        page = (await operator.get(headers["Location"]))[1]
        assert "The tenant is deleted" in page and "/ui/tenants/acme" not in page
        assert stage.feed.directory.endpoint("ep_1") is None
        assert (await operator.get("/ui/tenants/acme"))[0] == 404
        assert (await acme.get("/ui/t/acme/live/overview"))[0] == 303, "to the sign-in"
        assert (await customer.get(f"{portal}/overview"))[0] == 401
    again = await operator.post("/ui/tenants", FORM | {"id": "acme"})
    assert again[0] == 409 and "was deleted at" in again[1]
