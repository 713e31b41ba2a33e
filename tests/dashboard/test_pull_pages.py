"""Pull endpoints on the pages: they have a name without a URL, and show how far their receivers have read."""

from __future__ import annotations

from tests.dashboard.stage import KEYS, browser, hidden, open_stage


async def test_a_pull_endpoint_is_registered_shown_and_changed() -> None:
    async with open_stage() as stage, browser(stage, KEYS["acme", "live"]) as acme:
        _, page, _ = await acme.get("/ui/t/acme/live/endpoints/new")
        fields = {"kind": "pull", "url": "", "types": "a.b", "uid": "agent", "key": hidden(page, "key")}
        status, page, _ = await acme.post("/ui/t/acme/live/endpoints", fields)
        assert status == 200 and "pull: agent" in page and "whsec_" in page
        (endpoint,) = stage.feed.directory.endpoints("acme", "live")
        here = f"/ui/t/acme/live/endpoints/{endpoint.id}"
        _, page, _ = await acme.get(here)
        assert "Waiting</dt><dd>at most 0" in page and "Last commit</dt><dd>none" in page
        assert "Send a test" not in page
        await stage.pulls.commit(endpoint.id, 0, 0)
        assert "Last commit</dt><dd>none" not in (await acme.get(here))[1]
        assert "pull: agent" in (await acme.get("/ui/t/acme/live/endpoints"))[1]

        changed = fields | {"types": "a.c", "version": hidden(page, "version")}
        status, page, _ = await acme.post(f"{here}/settings", changed)
        assert status == 303, page
        current = stage.feed.directory.endpoint(endpoint.id)
        assert current is not None and (current.kind, current.events) == ("pull", ("a.c",))


async def test_a_push_endpoint_without_a_url_is_refused_at_its_field() -> None:
    async with open_stage() as stage, browser(stage, KEYS["acme", "live"]) as acme:
        _, page, _ = await acme.get("/ui/t/acme/live/endpoints/new")
        fields = {"kind": "push", "url": "", "types": "a.b", "key": hidden(page, "key")}
        status, page, _ = await acme.post("/ui/t/acme/live/endpoints", fields)
        assert status == 422 and "is required" in page
