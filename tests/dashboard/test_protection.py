"""The dashboard under attack: strangers, other tenants, forged forms, frames, scripts, false redirects."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.adapters.secrets.keyring import AesSealer
from app.api.grants import Grant, GrantSigner
from app.dashboard.server.routes import SCREENS, PageRoute
from tests.dashboard.attack_stage import LIVE, address, attacked_stage, entries, portal_of
from tests.dashboard.stage import KEYS, OPERATOR, READ_ONLY, Browser, Stage, browser, hidden, open_stage


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with attacked_stage() as attacked:
        yield attacked


async def ask(somebody: Browser, entry: PageRoute, path: str, **more: Any) -> tuple[int, str, Any]:
    return await (somebody.post(path, **more) if entry.method == "POST" else somebody.get(path))


async def test_the_sign_in_says_whether_there_is_an_operator(stage: Stage) -> None:
    async with browser(stage) as stranger:
        _, page, _ = await stranger.get("/ui/sign-in")
        assert "operator" in page and "HOOKSTREAM_ADMIN_TOKEN</code> is not set" not in page
    async with open_stage(operator=None) as other, browser(other) as stranger:
        _, page, _ = await stranger.get("/ui/sign-in")
        assert "HOOKSTREAM_ADMIN_TOKEN</code> is not set" in page and "admin.token" not in page


async def test_unauthenticated_visitors_are_redirected_to_the_sign_in(stage: Stage) -> None:
    async with browser(stage) as stranger:
        for entry in entries("read", "write", "operator"):
            path = address(entry, LIVE if entry.scoped else "/ui")
            status, text, headers = await ask(stranger, entry, path)
            wanted = "/ui/sign-in?next=" if entry.method == "GET" else "/ui/sign-in"
            assert (status, headers.get("Location", "")[:17]) == (303, wanted), path
            if entry.scoped:
                status, text, headers = await ask(stranger, entry, address(entry, "/portal/e30.AAAA"))
                assert status == 401 and "This link has expired" in text, entry.path
    assert not stage.actors


async def test_no_page_of_another_tenant_or_mode_exists_for_a_key(stage: Stage) -> None:
    async with browser(stage, KEYS["acme", "live"]) as acme:
        for entry in entries("read", "write"):
            for base in ("/ui/t/other/live", "/ui/t/acme/test", "/ui/t/acme/LIVE", "/ui/t/nobody/live"):
                status, text, _ = await ask(acme, entry, address(entry, base))
                assert status == 404 and "ep_" not in text, (entry.path, base)
            if "{id}" in entry.path:
                for id_ in ("ep_2", "ep_3"):
                    status, text, _ = await ask(acme, entry, address(entry, LIVE, id_))
                    assert status == 404 and "example" not in text, (entry.path, id_)
        for entry in entries("operator"):
            assert (await ask(acme, entry, address(entry, "/ui")))[0] == 403, entry.path
    assert not stage.actors


@pytest.mark.parametrize("tenant", ["a%22b", "a%0d%0aX-Evil:%201", "%3Cb%3E", "a%2Fb", "%C3%A4", "x" * 129])
async def test_an_invalid_tenant_name_has_no_pages_even_for_the_operator(stage: Stage, tenant: str) -> None:
    async with browser(stage, OPERATOR) as operator:
        for entry in entries("read", "write"):
            status, _, headers = await ask(operator, entry, address(entry, f"/ui/t/{tenant}/live"))
            assert status == 404 and "X-Evil" not in headers, entry.path
    assert not stage.actors


async def test_a_portal_is_of_one_tenant_and_mode_and_nothing_else(stage: Stage) -> None:
    portal = await portal_of(stage)
    async with browser(stage) as customer:
        status, page, headers = await customer.get(portal)
        assert status == 303 and headers["Location"] == f"{portal}/overview"
        status, page, headers = await customer.get(f"{portal}/endpoints")
        assert status == 200 and "acme.example/ep_1" in page and "ep_2" not in page and "ep_3" not in page
        assert "Set-Cookie" not in headers and "Sign out" not in page
        customer.csrf = hidden((await customer.get(f"{portal}/endpoints/ep_1"))[1], "csrf")
        for entry in (each for each in entries("read", "write") if "{id}" in each.path):
            for id_ in ("ep_2", "ep_3"):
                status, _, _ = await ask(customer, entry, address(entry, portal, id_))
                assert status == 404, (entry.path, id_)
        assert (await customer.post(f"{portal}/endpoints/ep_1/pause"))[0] == 303
        assert stage.actors == ["portal of key_of_sk_live_acme"]
        token = portal.removeprefix("/portal/")
        status, _, _ = await customer.get("/ui/tenants", Cookie=f"hookstream_session={token}")
        assert status == 303, "a portal's token is no session of the dashboard"


async def test_a_customer_of_the_portal_chooses_no_profile(stage: Stage) -> None:
    stage.endpoint()
    portal = await portal_of(stage, scopes=["read", "write"])
    async with browser(stage) as customer:
        for path in ("endpoints/new?profile=bota", "endpoints/ep_1"):
            _, page, _ = await customer.get(f"{portal}/{path}")
            assert 'name="url"' in page and 'name="profile"' not in page and 'name="signature"' not in page
        customer.csrf = hidden(page, "csrf")
        form = {"url": "https://acme.example/mine", "types": ["*"], "profile": "bota", "signature": "bota", "key": "k"}
        status, _, _ = await customer.post(f"{portal}/endpoints", form)
    assert status == 200
    (created,) = (each for each in stage.feed.directory.endpoints("acme", "live") if each.url == form["url"])
    assert (created.profile, created.signature) == ("standard", None)


async def test_a_key_that_may_read_sees_no_buttons_and_changes_nothing(stage: Stage) -> None:
    portal = await portal_of(stage, scopes=["read"])
    async with browser(stage, READ_ONLY) as reader, browser(stage) as customer:
        for somebody, base in ((reader, LIVE), (customer, portal)):
            for entry in entries("write"):
                assert (await ask(somebody, entry, address(entry, base)))[0] == 403, entry.path
            for path in ("/endpoints", "/endpoints/ep_1", "/replays", "/replays/rpl_ep_1"):
                status, page, _ = await somebody.get(base + path)
                main = page.partition("<main")[2]
                assert status == 200 and 'method="post"' not in main and "primary" not in main, path
    assert not stage.actors


@pytest.mark.parametrize("attack", ["none", "foreign", "other purpose", "cross-site", "origin", "json"])
async def test_forms_of_other_sessions_are_refused(stage: Stage, attack: str) -> None:
    async with browser(stage, KEYS["acme", "live"]) as acme, browser(stage, OPERATOR) as operator:
        for entry in entries("write", "operator", method="POST"):
            somebody, other = (acme, operator) if entry.scoped else (operator, acme)
            path = address(entry, LIVE if entry.scoped else "/ui")
            match attack:
                case "none":
                    status, _, _ = await somebody.post(path, csrf="")
                case "foreign":
                    status, _, _ = await somebody.post(path, csrf=other.csrf)
                case "other purpose":
                    status, _, _ = await somebody.post(path, csrf=stage.services.tokens.proof("sign-in", "ses_1"))
                case "cross-site":
                    status, _, _ = await somebody.post(path, Sec_Fetch_Site="cross-site")
                case "origin":
                    status, _, _ = await somebody.post(path, Origin="https://evil.example")
                case _:
                    async with somebody.http.post(stage.url + path, json={}, allow_redirects=False) as answer:
                        status = answer.status
            assert status == (415 if attack == "json" else 403), path
    assert not stage.actors


async def test_an_origin_that_is_no_address_is_a_foreign_one(stage: Stage) -> None:
    async with browser(stage, KEYS["acme", "live"]) as acme:
        assert (await acme.post(f"{LIVE}/endpoints/ep_1/pause", Origin="http://["))[0] == 403
        assert (await acme.post(f"{LIVE}/endpoints/ep_1/pause", Origin=stage.url))[0] == 303


async def test_every_answer_keeps_frames_scripts_and_referrers_out(stage: Stage) -> None:
    portal = await portal_of(stage)
    async with browser(stage, OPERATOR) as operator:
        paths = [
            address(each, LIVE if each.scoped else "/ui")
            for each in SCREENS
            if each.method == "GET" and not each.path.endswith("live")
        ]
        for path in [*paths, f"{portal}/overview", "/ui/nothing", "/ui/t/acme/live/nothing", "/ui/assets/theme.x.js"]:
            _, text, headers = await operator.get(path)
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy, path
            assert "frame-ancestors 'none'" in policy and headers["X-Frame-Options"] == "DENY", path
            assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"
            assert "immutable" in headers["Cache-Control"] or headers["Cache-Control"] == "no-store", path
            assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", text), path


async def test_only_the_portal_may_be_framed_and_only_by_the_origins_that_the_operator_names() -> None:
    async with open_stage(portal_origins=("https://app.example.com",)) as stage:
        portal = await portal_of(stage)
        async with browser(stage, OPERATOR) as operator:
            _, _, headers = await operator.get(f"{portal}/overview")
            assert "frame-ancestors https://app.example.com" in headers["Content-Security-Policy"]
            assert "X-Frame-Options" not in headers
            _, _, headers = await operator.get("/ui/tenants")
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/ui/\\evil",
        "javascript:alert(1)",
        "/ui@evil.example",
        "/ui/../../evil",
        " /ui",
        "/uix",
        "/portal/x",
        "/ui/%0d%0aSet-Cookie:x",
        "/ui/%2e%2e/portal/x",
        "/ui/%2E./portal/x",
        "/ui/%252e%252e/portal/x",
        "/ui/x/%2e%2e%2f%2e%2e/portal",
        "/ui//evil.example",
        "/ui/%5c%5cevil",
        "/ui/./x",
        "/ui\r\nX: y",
        "/ui?next=https://evil",
    ],
)
async def test_the_sign_in_redirects_only_to_its_own_pages(stage: Stage, target: str) -> None:
    async with browser(stage) as somebody:
        status, _, headers = await somebody.sign_in(KEYS["acme", "live"], next=target)
        place = headers["Location"]
        assert status == 303 and place.startswith("/ui") and "X" not in headers
        assert place == f"{LIVE}/overview" or place in ("/ui", "/ui?next=https://evil")


async def test_the_sign_in_redirects_to_the_requested_page(stage: Stage) -> None:
    async with browser(stage) as somebody:
        _, _, headers = await somebody.get(f"{LIVE}/deliveries?state=dead&type=a.*")
        _, page, _ = await somebody.get(headers["Location"])
        assert f'value="{LIVE}/deliveries?state=dead&amp;type=a.*"' in page
        _, _, headers = await somebody.sign_in(KEYS["acme", "live"], next=f"{LIVE}/deliveries?state=dead&type=a.*")
        assert headers["Location"] == f"{LIVE}/deliveries?state=dead&type=a.*"


async def test_guessing_is_slow_and_a_session_ends_with_its_key_its_time_or_its_end(stage: Stage) -> None:
    async with browser(stage) as guesser:
        statuses = [(await guesser.sign_in(f"wrong_{number}"))[0] for number in range(11)]
        assert statuses == [401] * 10 + [429]
        assert (await guesser.sign_in(KEYS["acme", "live"]))[0] == 429, "the right one does not tell itself apart"
        await stage.clock.advance(61)
        assert (await guesser.sign_in(KEYS["acme", "live"]))[0] == 303
    async with browser(stage, KEYS["acme", "test"]) as acme:
        assert (await acme.get("/ui/t/acme/test/overview"))[0] == 200
        stage.feed.directory.remove_key("key_of_sk_test_acme")
        assert (await acme.get("/ui/t/acme/test/overview"))[0] == 303
    async with browser(stage, OPERATOR) as operator:
        cookie = next(iter(operator.http.cookie_jar))
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/ui"
        stolen = cookie.value
        assert (await operator.post("/ui/sign-out"))[0] == 303
        assert (await operator.get("/ui/tenants", Cookie=f"hookstream_session={stolen}"))[0] == 303
    async with browser(stage, OPERATOR) as operator:
        await stage.clock.advance(12 * 3600 + 1)
        assert (await operator.get("/ui/tenants"))[0] == 303


async def test_a_sign_in_form_of_another_browser_is_refused(stage: Stage) -> None:
    async with browser(stage) as attacker, browser(stage) as victim:
        page = (await attacker.get("/ui/sign-in"))[1]
        found = re.search(r'name="knock" value="([^"]*)"', page)
        assert found
        form = {"token": KEYS["acme", "live"], "knock": found[1]}
        assert (await victim.post("/ui/sign-in", form, csrf=""))[0] == 403
        await victim.get("/ui/sign-in")
        assert (await victim.post("/ui/sign-in", form, csrf=""))[0] == 403


def test_a_changed_grant_is_invalid() -> None:
    tokens, grant = GrantSigner(b"k" * 32, AesSealer(b"k")), Grant(kind="operator", id="x", expires_at_ms=1000)
    text = tokens.sign(grant)
    assert tokens.read(text, 999) == grant and tokens.read(text, 1000) is None
    assert GrantSigner(b"k" * 32, AesSealer(b"j")).read(text, 0) is None
    for at in range(len(text)):
        letter = "A" if text[at] != "A" else "B"
        other = tokens.read(text[:at] + letter + text[at + 1 :], 0)
        assert other in (None, grant), "at most the last letter's unused bits may differ"
    for rubbish in ("", ".", "A", "ä", "A" * 44, text + "AAAA", text[:-4]):
        assert tokens.read(rubbish, 0) is None


async def test_the_holder_of_a_grant_cannot_read_it(stage: Stage) -> None:
    token = (await portal_of(stage, return_url="https://app.example/")).removeprefix("/portal/")
    raw = base64.urlsafe_b64decode(token + "==")
    for word in (b"key_of", b"acme", b"portal", b"app.example", b"tenant"):
        assert word not in raw and word.decode() not in token


async def test_the_host_of_links_is_not_taken_from_a_request() -> None:
    async with open_stage() as stage, browser(stage) as somebody:
        for host, status in (
            ("evil.example", 409),
            ("10.0.0.1:80", 409),
            ("localhost:8080", 201),
            ("127.0.0.1", 201),
            ("[::1]:80", 201),
            ("localhost.evil.example", 409),
            ("evil.example@localhost", 400),
            ("a b", 400),
            ("local/host", 400),
        ):
            headers = {"authorization": f"Bearer {KEYS['acme', 'live']}", "host": host}
            async with somebody.http.post(f"{stage.url}/v1/portal-links", json={}, headers=headers) as answer:
                assert answer.status == status, (host, await answer.text())
    async with open_stage(public_url="https://hooks.example.com") as stage, browser(stage) as somebody:
        headers = {"authorization": f"Bearer {KEYS['acme', 'live']}", "host": "evil.example"}
        async with somebody.http.post(f"{stage.url}/v1/portal-links", json={}, headers=headers) as answer:
            assert (await answer.json())["url"].startswith("https://hooks.example.com/portal/")


async def test_return_url_may_use_http_only_for_this_machine() -> None:
    async with open_stage(allow_http=True) as stage, browser(stage) as somebody:
        for url, status in (
            ("http://localhost:3000/x", 201),
            ("http://127.0.0.1/", 201),
            ("http://app.example/", 422),
            ("http://localhost@app.example/", 422),
            ("ftp://localhost/", 422),
            ("https://app.example", 201),
        ):
            headers = {"authorization": f"Bearer {KEYS['acme', 'live']}"}
            sent = {"return_url": url}
            async with somebody.http.post(f"{stage.url}/v1/portal-links", json=sent, headers=headers) as answer:
                assert answer.status == status, (url, await answer.text())


async def test_portal_links_have_no_more_scopes_than_their_creator(stage: Stage) -> None:
    async def made(key: str, **body: Any) -> int:
        async with browser(stage) as somebody:
            headers = {"authorization": f"Bearer {key}"}
            async with somebody.http.post(f"{stage.url}/v1/portal-links", json=body, headers=headers) as answer:
                return answer.status

    assert await made(READ_ONLY) == 403 and await made(OPERATOR) == 403
    for wrong in (
        {"expires_in": 5},
        {"expires_in": 10**6},
        {"return_url": "javascript:alert(1)"},
        {"return_url": "http://app.example/"},
        {"return_url": "http://127.0.0.1/"},
        {"return_url": "https://[not.closed"},
        {"return_url": "https:"},
        {"scopes": ["write"]},
        {"scopes": ["operator"]},
    ):
        assert await made(KEYS["acme", "live"], **wrong) == 422, wrong
    portal = await portal_of(stage, expires_in=60, return_url="https://app.example/back?a=1")
    async with browser(stage) as customer:
        assert 'href="https://app.example/back?a=1"' in (await customer.get(f"{portal}/overview"))[1]
        stage.feed.directory.remove_key("key_of_sk_live_acme")
        assert (await customer.get(f"{portal}/overview"))[0] == 401
        stage.key(KEYS["acme", "live"], "acme", "live", "read")
        status, page, _ = await customer.get(f"{portal}/endpoints")
        assert status == 200 and "Create an endpoint" not in page, "the key may no longer write, so the link may not"
        await stage.clock.advance(61)
        assert (await customer.get(f"{portal}/overview"))[0] == 401
