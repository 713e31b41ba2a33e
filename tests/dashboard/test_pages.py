"""The dashboard's pages as a person sees them: each screen shows what is there, and each button does what it says."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.model.endpoint import OpenCircuit
from app.core.model.receiver_auth import MASK
from app.core.model.replay import ReplayEstimate
from app.core.readmodel.rows import DeliveryRow, HourRow
from app.dashboard.pages import endpoint_form
from tests.dashboard.stage import Browser, Stage, browser, hidden

LIVE = "/ui/t/acme/live"


async def test_an_endpoint_is_created_and_its_secret_is_shown_once(stage: Stage, acme: Browser) -> None:
    status, page, _ = await acme.get(f"{LIVE}/endpoints/new")
    assert status == 200
    form = {
        "url": "https://acme.example/in",
        "types": ["user.created"],
        "profile": "standard",
        "ordering": "none",
        "on_exhausted": "block",
        "key": hidden(page, "key"),
        "headers": "X-Api-Key: one",
    }
    status, page, headers = await acme.post(f"{LIVE}/endpoints", form)
    assert status == 200 and headers["Cache-Control"] == "no-store"
    (made,) = stage.feed.directory.endpoints("acme", "live")
    secret = stage.ring.open(made.secrets[0], f"acme/{made.id}")
    assert secret in page and made.headers == {"X-Api-Key": MASK} and made.events == ("user.created",)
    assert stage.ring.open(made.sealed_headers["X-Api-Key"], made.secret_owner) == "one"
    assert secret not in (await acme.get(f"{LIVE}/endpoints/{made.id}"))[1]
    await acme.post(f"{LIVE}/endpoints", form)
    assert len(stage.feed.directory.endpoints("acme", "live")) == 1, "the same form twice makes one endpoint"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "https://x.example", "types": []}, "choose at least one event type"),
        ({"url": "", "types": ["*"]}, "error"),
        ({"url": "https://x.example", "types": ["*"], "headers": "nothing"}, "write Name: value"),
        ({"url": "https://x.example", "types": ["*"], "timeout": "x"}, "a number"),
        ({"url": "https://x.example", "types": ["*"], "timeout": "9999"}, "timeout"),
        ({"url": "https://x.example", "types": ["*"], "filter": "{data"}, "is not JSON"),
        ({"url": "https://x.example", "types": ["*"], "filter": "[1]"}, "filter"),
        ({"url": "https://x.example", "types": ["*"], "filter": '{"data": {"a": {"$gtt": 1}}}'}, "did you mean $gt?"),
        ({"url": "https://x.example", "types": ["*"], "more_types": "a b..c"}, "neither an event type"),
    ],
)
async def test_an_invalid_form_shows_errors_beside_fields_and_keeps_the_input(
    stage: Stage, acme: Browser, fields: dict[str, str], said: str
) -> None:
    form = {"profile": "standard", "key": "k1", "description": "mine", **fields}
    status, page, _ = await acme.post(f"{LIVE}/endpoints", form)
    assert status == 422 and said in page and 'value="mine"' in page
    assert not stage.feed.directory.endpoints("acme", "live")


async def test_a_failing_endpoint_shows_since_when_and_when_it_will_be_disabled(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    assert "failing since" not in (await acme.get(f"{LIVE}/endpoints/ep_1"))[1]
    stage.endpoint(failing_since_ms=1_700_000_000_000, disable_at_ms=1_700_400_000_000)
    page = (await acme.get(f"{LIVE}/endpoints/ep_1"))[1]
    assert "failing since" in page and "2023-11-14T22:13:20" in page
    assert "it is disabled" in page and 'data-countdown="2023-11-19T13:20:00' in page


async def test_a_silent_endpoint_is_marked_on_its_page_and_in_the_list(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    for path in ("endpoints/ep_1", "endpoints"):
        assert ">circuit " not in (await acme.get(f"{LIVE}/{path}"))[1]
    now_ms = stage.clock.now_ms()
    for ahead_ms, state in ((60_000, "circuit open"), (-60_000, "circuit half-open")):
        stage.endpoint(circuit=OpenCircuit(since_ms=1_700_000_000_000, probe_at_ms=now_ms + ahead_ms))
        page = (await acme.get(f"{LIVE}/endpoints/ep_1"))[1]
        assert state in page and "It has not answered since" in page and "2023-11-14T22:13:20" in page
        assert ("data-countdown" in page) is (ahead_ms > 0)
        listed = (await acme.get(f"{LIVE}/endpoints"))[1]
        assert state in listed and "no answer since" in listed and "active</span>" not in listed


async def test_the_buttons_pause_resume_disable_enable_recover_and_delete(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    here = f"{LIVE}/endpoints/ep_1"
    for action, status in (("pause", "paused"), ("resume", "active"), ("disable", "disabled"), ("enable", "active")):
        code, _, headers = await acme.post(f"{here}/{action}")
        assert code == 303 and headers["Location"].startswith(here)
        found = stage.feed.directory.endpoint("ep_1")
        assert found is not None and found.status == status
        assert 'role="status"' in (await acme.get(headers["Location"]))[1]
    assert "Deliver what was missed" in (await acme.get(here))[1]
    code, _, headers = await acme.post(f"{here}/recover")
    assert code == 303 and "/replays/" in headers["Location"]
    assert (await acme.post(f"{here}/delete"))[0] == 303
    assert stage.feed.directory.endpoint("ep_1") is None


async def test_settings_are_saved_unless_the_endpoint_changed_meanwhile(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    form = {
        "url": "https://acme.example/new",
        "types": ["user.created"],
        "version": "1",
        "ordering": "fifo",
        "on_exhausted": "skip",
        "timeout": "7",
    }
    status, _, _ = await acme.post(f"{LIVE}/endpoints/ep_1/settings", form)
    found = stage.feed.directory.endpoint("ep_1")
    assert status == 303 and found is not None
    assert (found.url, found.ordering, found.timeout) == ("https://acme.example/new", "fifo", 7)
    status, page, _ = await acme.post(f"{LIVE}/endpoints/ep_1/settings", form | {"url": "https://acme.example/late"})
    assert status == 412 and "has version 2, not 1" in page


async def test_every_setting_comes_back_from_the_form_as_it_was(stage: Stage, acme: Browser) -> None:
    settings: dict[str, Any] = {
        "url": "https://acme.example/all",
        "types": ["user.created"],
        "description": "billing",
        "metadata": "team=billing\nenv=eu",
        "headers": "X-Api-Key: k\nX-Pass: p",
        "sensitive_headers": "X-Pass, X-Other",
        "auth": "basic",
        "auth.basic.username": "hooks",
        "auth.basic.password": "p4ssw0rd",
        "filter": '{\n  "data": {\n    "total": {\n      "$gte": 100\n    }\n  }\n}',
        "envelope": "cloudevents-binary",
        "include_fields": "id, customer.country",
        "transform": "{text: type,\n id: data.id}",
        "schedule": "0, 2.5, 604800",
        "timeout": "7.5",
        "rate_limit": "100000",
        "max_in_flight": "3",
        "ordering": "fifo",
        "on_exhausted": "skip",
        "signature": "bota",
        "disable_after_failures": "1000000",
        "disable_after_days": "0.5",
    }
    stage.endpoint()
    status, _, _ = await acme.post(f"{LIVE}/endpoints/ep_1/settings", settings | {"version": "1"})
    stored = stage.feed.directory.endpoint("ep_1")
    assert status == 303 and stored is not None
    assert stored.metadata == {"team": "billing", "env": "eu"} and stored.schedule == (0, 2.5, 604800)
    again = endpoint_form.filled(stored, 2, ["user.created"])
    assert {name: list(again[name]) if name == "types" else again[name] for name in settings} == settings | {
        "headers": f"X-Api-Key: {MASK}\nX-Pass: {MASK}",
        "auth.basic.password": MASK,
    }
    names = ["schedule", "timeout", "signature", "disable_after_days", "metadata", "filter", "transform"]
    emptied = settings | dict.fromkeys([*names, "include_fields", "auth"], "")
    await acme.post(f"{LIVE}/endpoints/ep_1/settings", emptied | {"version": "2"})
    restored = stage.feed.directory.endpoint("ep_1")
    assert restored is not None and restored.metadata == {} and restored.filter is None
    assert (restored.include_fields, restored.transform, restored.auth) == (None, None, None)
    assert (restored.schedule, restored.timeout, restored.signature, restored.disable_after_days) == (None,) * 4


async def test_an_endpoint_that_fails_does_not_look_healthy_in_the_list(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    _, page, _ = await acme.get(f"{LIVE}/endpoints")
    assert "active</span>" in page and "no attempts" in page
    stage.endpoint(failing_since_ms=1)
    _, page, _ = await acme.get(f"{LIVE}/endpoints")
    assert '<span class="chip bad">failing</span>' in page and "since" in page and "active</span>" not in page


async def test_an_endpoint_of_which_every_attempt_failed_is_not_shown_as_active(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    begins_ms = stage.clock.now_ms() // 3_600_000 * 3_600_000
    for failures, chip in ((2, "no success"), (1, "active")):
        hour = HourRow(begins_ms=begins_ms, attempts=2, failed_attempts=failures)
        stage.reads.by_hour["acme", "live", "ep_1"] = [hour]
        for path in ("endpoints", "endpoints/ep_1"):
            _, page, _ = await acme.get(f"{LIVE}/{path}")
            assert (f">{chip}</span>" in page) and ("active</span>" in page) is (chip == "active"), path


async def test_the_list_shows_how_an_endpoint_failed_last(stage: Stage, acme: Browser) -> None:
    stage.endpoint(failing_since_ms=1_700_000_000_000)
    stage.reads.rows.append(
        DeliveryRow(
            id="dl_1",
            tenant="acme",
            mode="live",
            endpoint_id="ep_1",
            event_id="e1",
            event_type="ping",
            state="dead",
            attempts=3,
            created_at_ms=1,
            updated_at_ms=1_700_001_000_000,
            status=404,
            result="http_4xx",
            reason="exhausted",
        )
    )
    _, page, _ = await acme.get(f"{LIVE}/endpoints")
    assert f'href="{LIVE}/deliveries/dl_1">404 Not found' in page
    assert "failing since" in page and page.count("2023-11-14 22:30:00 UTC") == 1


async def test_all_fields_that_are_wrong_are_named_at_once(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    form = {"url": "https://acme.example/x", "types": ["*"], "timeout": "soon", "schedule": "x", "version": "1"}
    status, page, _ = await acme.post(f"{LIVE}/endpoints/ep_1/settings", form)
    assert status == 422 and "a number" in page and "seconds, separated by commas" in page


async def test_a_test_event_shows_what_the_receiver_did(stage: Stage, acme: Browser) -> None:
    endpoint = stage.endpoint()
    stage.sender.script(endpoint.url, 500)
    path = f"{LIVE}/endpoints/ep_1/test"
    status, part, _ = await acme.post(path, {"type": "ping", "data": ""}, HX_Request="true")
    assert status == 200 and "The test failed: The receiver failed" in part and "<html" not in part
    assert "status 500" in part and "said" in part and "The receiver has accepted it" not in part
    stage.sender.script(endpoint.url, 200)
    assert "The receiver has accepted it" in (await acme.post(path, {"type": "ping", "data": '{"a": 1}'}))[1]
    assert b'"a": 1' in stage.sender.requests[-1].body
    status, part, _ = await acme.post(path, {"type": "ping", "data": "{"}, HX_Request="true")
    assert status == 422 and "not JSON" in part


async def test_a_preview_shows_what_would_be_sent_and_why_nothing_would(stage: Stage, acme: Browser) -> None:
    stage.endpoint(transform="{total: data.total}")
    path = f"{LIVE}/endpoints/ep_1/preview"
    form = {"type": "order.paid", "data": '{"total": 5, "card": "4242"}'}
    status, part, _ = await acme.post(path, form, HX_Request="true")
    assert status == 200 and "This would be sent" in part and "<html" not in part
    assert "&#34;total&#34;: 5" in part and "4242" not in part and "webhook-signature" in part
    status, page, _ = await acme.post(path, form | {"transform": "abs(data)", "envelope": "raw"})
    assert status == 200 and "Nothing would be sent: Transform failed" in page and "abs() takes number" in page
    assert (await acme.post(path, form | {"transform": "abs("}))[0] == 422
    assert (await acme.post(path, form | {"data": "{"}))[0] == 422
    assert "For an example" in (await acme.post(path, {"envelope": "raw", "transform": ""}))[1]
    assert stage.sender.requests == []


async def test_a_replay_is_counted_first_and_then_begun(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    stage.counts = ReplayEstimate(endpoints={"ep_1": 7}, read={0: 10})
    form = {"only": "failed", "endpoint": "ep_1", "from": "2h", "to": "now", "types": "", "rate": "", "key": "k1"}
    status, page, _ = await acme.post(f"{LIVE}/replays", form | {"step": "count"})
    assert status == 200 and "<b>7 deliveries</b>" in page and not stage.feed.directory.replays
    status, _, headers = await acme.post(f"{LIVE}/replays", form | {"step": "begin"})
    assert status == 303
    (replay,) = stage.feed.directory.replays.values()
    assert replay.only == "failed" and "sse-connect" in (await acme.get(headers["Location"]))[1]
    await acme.post(f"{LIVE}/replays/{replay.id}/cancel")
    assert stage.feed.directory.replays[replay.id].state == "cancelled"
    assert replay.id in (await acme.get(f"{LIVE}/replays"))[1]
    status, page, _ = await acme.post(f"{LIVE}/replays", form | {"from": "yesterday"})
    assert status == 422 and "is not a point in time" in page


async def test_an_event_is_appended_from_a_form(stage: Stage, acme: Browser) -> None:
    assert "user.created" in (await acme.get(f"{LIVE}/event-types"))[1]
    assert "JSON Schema" not in (await acme.get(f"{LIVE}/event-types/user.created"))[1]
    status, page, _ = await acme.get(f"{LIVE}/events/new?type=user.created")
    assert status == 200 and "&#34;" in page, "the example is in the form"
    form = {"type": "user.created", "data": '{"id": 1}', "key": hidden(page, "key")}
    status, _, headers = await acme.post(f"{LIVE}/events", form)
    (record,) = stage.log.of("events.raw")
    assert status == 303 and "/deliveries?event=" in headers["Location"] and b'{"id": 1}' in (record.value or b"")
    status, page, _ = await acme.post(f"{LIVE}/events", form | {"data": "{"})
    assert status == 422 and "not JSON" in page


async def test_the_operator_registers_tenants_and_makes_keys(stage: Stage, operator: Browser) -> None:
    status, page, _ = await operator.get("/ui/tenants")
    assert status == 200 and "acme" in page
    new = {"id": "fresh", "name": "Fresh", "profile": "bota", "notify_emails": "a@fresh.example"}
    assert (await operator.post("/ui/tenants", new))[0] == 303
    assert stage.feed.directory.tenants["fresh"].profile == "bota"
    assert (await operator.post("/ui/tenants", new))[0] == 409
    assert (await operator.post("/ui/tenants", new | {"id": "x", "notify_emails": "nobody"}))[0] == 422
    status, page, _ = await operator.post("/ui/tenants/fresh/keys", {"mode": "test", "scopes": ["read"], "name": "ci"})
    (key,) = [each for each in stage.feed.directory.keys.values() if each.tenant == "fresh"]
    assert status == 200 and "sk_test_" in page and key.scopes == ("read",)
    assert "sk_test_" not in (await operator.get("/ui/tenants/fresh"))[1]
    assert (await operator.post(f"/ui/tenants/fresh/keys/{key.id}/revoke"))[0] == 303
    assert key.id not in stage.feed.directory.keys
    change = {"name": "New", "profile": "bota", "version": "1", "brand_color": "#336699", "brand_name": "Fresh Hooks"}
    assert (await operator.post("/ui/tenants/fresh", change))[0] == 303
    brand = stage.feed.directory.tenants["fresh"].brand
    assert brand is not None and brand.color == "#336699"
    status, page, _ = await operator.post("/ui/tenants/fresh", change | {"version": "2", "brand_color": "red;"})
    assert status == 422 and "#rrggbb" in page


async def test_the_operator_sees_topics_groups_and_roles(stage: Stage, operator: Browser) -> None:
    status, page, _ = await operator.get("/ui/operations")
    assert status == 200
    for text in ("hookstream.fanout", "joining its group", "it has 4, not 12", "Stable"):
        assert text in page


async def test_every_change_is_in_the_audit_log_with_who_made_it(
    stage: Stage, acme: Browser, operator: Browser
) -> None:
    stage.endpoint()
    await acme.post(f"{LIVE}/endpoints/ep_1/pause")
    await operator.post(f"{LIVE}/endpoints/ep_1/resume")
    status, page, _ = await acme.get(f"{LIVE}/audit")
    assert status == 200 and page.index("operator") < page.index("suspended the endpoint")
    assert stage.actors[:2] == ["key_of_sk_live_acme", "operator"]
    assert "ep_1" not in (await operator.get("/ui/t/other/live/audit"))[1]


async def test_the_search_finds_by_url_and_status(stage: Stage, acme: Browser) -> None:
    stage.endpoint(id_="ep_1", url="https://one.example/")
    stage.endpoint(id_="ep_2", url="https://two.example/", status="paused")
    status, part, _ = await acme.get(f"{LIVE}/endpoints?q=ONE", HX_Request="true")
    assert status == 200 and "one.example" in part and "two.example" not in part and "<html" not in part
    assert "one.example" not in (await acme.get(f"{LIVE}/endpoints?status=paused"))[1]
    assert "No endpoints match" in (await acme.get(f"{LIVE}/endpoints?q=three"))[1]
    # the browser's button back: htmx puts what comes into the place of the whole page
    again = {"HX_Request": "true", "HX_History_Restore_Request": "true"}
    assert "<html" in (await acme.get(f"{LIVE}/endpoints?q=ONE", **again))[1]


async def test_a_trailing_slash_redirects_to_the_dashboard(acme: Browser) -> None:
    status, _, headers = await acme.get("/ui/")
    assert (status, headers["Location"]) == (303, "/ui")


async def test_assets_are_kept_for_ever_and_change_their_address_with_their_content(stage: Stage) -> None:
    async with browser(stage) as stranger:
        _, page, _ = await stranger.get("/ui/sign-in")
        addresses = {each.split('"')[0] for each in page.split('"/ui/assets/')[1:]}
        assert len(addresses) >= 5
        for each in addresses:
            status, _, headers = await stranger.get(f"/ui/assets/{each}")
            assert status == 200 and "immutable" in headers["Cache-Control"], each
        assert (await stranger.get("/ui/assets/nothing.js"))[0] == 404
        assert (await stranger.get("/ui/assets/..%2f..%2fsite.py"))[0] == 404
