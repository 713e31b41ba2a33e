"""The tab "Verify signatures": code for every profile, and answers about pasted requests."""

from __future__ import annotations

import html
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.dashboard.pages.verification import MOST_BODY
from app.profiles.catalog import PROFILES
from tests.dashboard.stage import KEYS, READ_ONLY, Browser, Stage, browser

VERIFY = "/ui/t/acme/live/endpoints/ep_1/verify"
BODY = '{"type":"user.created","data":{"id":1}}'


def headers_of(stage: Stage, body: str) -> str:
    """What a third party's library signs now with the endpoint's secret."""
    (endpoint,) = stage.feed.directory.endpoints("acme", "live")
    secret = stage.ring.open(endpoint.secrets[0], "acme/ep_1")
    at = datetime.fromtimestamp(stage.clock.now_ms() // 1000, UTC)
    signature = standardwebhooks.Webhook(secret).sign("evt_1", at, body)
    return f"webhook-id: evt_1\r\nwebhook-timestamp: {int(at.timestamp())}\r\nwebhook-signature: {signature}\r\n"


async def test_a_request_as_a_browser_sends_it_is_valid(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    body = '{"type":"user.created",\n"data":{}}'
    pasted = {"headers": headers_of(stage, body), "body": body.replace("\n", "\r\n") + "\r\n"}
    status, page, headers = await acme.post(VERIFY, pasted)
    assert status == 200 and "The signature is valid." in page and headers["Cache-Control"] == "no-store"
    assert "current secret" in html.unescape(page)
    status, part, _ = await acme.post(VERIFY, pasted, HX_Request="true")
    assert status == 200 and "The signature is valid." in part and "<html" not in part


async def test_a_body_that_a_framework_has_changed(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    pasted = {"headers": headers_of(stage, BODY), "body": BODY.replace(":", ": ").replace(",", ", ")}
    _, page, _ = await acme.post(VERIFY, pasted)
    assert "The signature is not valid." in page and "raw bytes" in page and "JSON without spaces" in page


async def test_a_secret_that_signs_no_more_is_named(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    before = headers_of(stage, BODY)
    await acme.post("/ui/t/acme/live/endpoints/ep_1/rotate", {"overlap": "3600"})
    _, page, _ = await acme.post(VERIFY, {"headers": before, "body": BODY})
    assert "The signature is valid." in page and "still signs" in page
    stage.clock.jump(7_200_000)
    _, page, _ = await acme.post(VERIFY, {"headers": before, "body": BODY})
    assert "signs no more" in page and "The signature is not valid." in page


async def test_v1a_is_checked_with_the_keys_that_sign(stage: Stage, acme: Browser) -> None:
    key = stage.ring.seal_key(None, "acme/ep_1", 0)
    stage.endpoint(signature_scheme="both", signing_keys=(key,))
    at_s = stage.clock.now_ms() // 1000
    private = b64decode(stage.ring.open(key, "acme/ep_1").removeprefix("whsk_"))[:32]
    made = Ed25519PrivateKey.from_private_bytes(private).sign(f"evt_1.{at_s}.{BODY}".encode())
    headers = headers_of(stage, BODY).rstrip() + f" v1a,{b64encode(made).decode()}"
    page = html.unescape((await acme.post(VERIFY, {"headers": headers, "body": BODY}))[1])
    assert "The signature is valid." in page and f"current signing key {key.public}" in page
    assert b64encode(private).decode()[:40] not in page
    page = html.unescape((await acme.post(VERIFY, {"headers": headers, "body": BODY + " "}))[1])
    assert "The signature is not valid." in page
    many = headers + " v1a,AAAA" * 500
    status, page, _ = await acme.post(VERIFY, {"headers": many, "body": "[" * 150_000})
    assert status == 200 and "The signature is not valid." in page
    stage.endpoint(signature_scheme="v1a", signing_keys=(key,))
    page = html.unescape((await acme.post(VERIFY, {"headers": headers, "body": BODY}))[1])
    assert "The signature is valid." in page and "current secret" not in page
    stage.endpoint(signature_scheme="rfc9421", signing_keys=(key,))
    status, page, _ = await acme.post(VERIFY, {"headers": headers, "body": BODY})
    assert status == 200 and "RFC 9421" in page and "The signature is" not in page


async def test_what_is_pasted_is_bounded_and_harmless(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    status, page, _ = await acme.post(VERIFY, {"headers": "a: b", "body": "x" * (MOST_BODY + 1)})
    assert status == 413 and "are checked" in page
    hostile = "<script>alert(1)</script>"
    status, page, _ = await acme.post(VERIFY, {"headers": f"{hostile}: {hostile}", "body": hostile})
    assert status == 200 and hostile not in page
    status, page, _ = await acme.post(VERIFY, {})
    assert status == 200 and "missing" in page


async def test_another_tenant_learns_nothing(stage: Stage) -> None:
    stage.endpoint()
    async with browser(stage, KEYS["other", "live"]) as somebody:
        status, _, _ = await somebody.post("/ui/t/other/live/endpoints/ep_1/verify", {"headers": "a: b", "body": ""})
        assert status == 404


async def test_a_reader_may_check(stage: Stage) -> None:
    stage.endpoint()
    async with browser(stage, READ_ONLY) as somebody:
        status, page, _ = await somebody.post(VERIFY, {"headers": headers_of(stage, BODY), "body": BODY})
        assert status == 200 and "The signature is valid." in page


@pytest.mark.parametrize("profile", PROFILES)
async def test_code_in_seven_languages(stage: Stage, acme: Browser, profile: str) -> None:
    stage.endpoint(profile=profile)
    _, page, _ = await acme.get(VERIFY)
    for title in ("Python", "Node.js", "Go", "Java", "PHP", "Ruby", "C#"):
        assert f">{title}</a>" in page
    header = {"standard": "webhook-signature", "recall": "svix-signature", "bota": "x-bota-signature"}
    _, page, _ = await acme.get(f"{VERIFY}?language=go")
    assert 'aria-current="true">Go</a>' in page and "hmac" in page
    _, page, _ = await acme.get(f"{VERIFY}?language=python")
    assert header.get(profile, "x-webhook-signature").partition("-")[0] in page.lower()
