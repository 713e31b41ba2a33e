"""What the dashboard shows of secrets: new ones once, public keys always, and refused ones never again."""

from __future__ import annotations

import html

import pytest

from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import Browser, Stage, browser

LIVE = "/ui/t/acme/live"


async def test_a_rotation_shows_the_new_secret_once_and_counts_the_old_one_down(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    for nonsense in ("²", "9" * 5000):
        assert (await acme.post(f"{LIVE}/endpoints/ep_1/rotate", {"overlap": nonsense}))[0] == 422
    status, page, _ = await acme.post(f"{LIVE}/endpoints/ep_1/rotate", {"overlap": "3600"})
    found = stage.feed.directory.endpoint("ep_1")
    assert status == 200 and found is not None and len(found.secrets) == 2
    secret = stage.ring.open(found.secrets[0], "acme/ep_1")
    assert secret in page and "data-countdown" in page
    assert secret not in (await acme.get(f"{LIVE}/endpoints/ep_1"))[1]


async def test_the_public_keys_are_shown_with_the_scheme_and_rotated(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    path = f"{LIVE}/endpoints/ep_1"
    assert "whpk_" not in (await acme.get(path))[1]
    form = {"url": "https://acme.example/x", "types": ["*"], "version": "1", "signature_scheme": "both"}
    status, _, _ = await acme.post(f"{path}/settings", form)
    (first,) = stage.feed.directory.endpoint("ep_1").signing_keys  # type: ignore[union-attr]
    page = html.unescape((await acme.get(path))[1])
    assert status == 303 and first.public in page and "/.well-known/webhook-keys/ep_1" in page
    assert (await acme.post(f"{path}/rotate-key", {"overlap": "²"}))[0] == 422
    status, _, headers = await acme.post(f"{path}/rotate-key", {"overlap": "3600"})
    second, earlier = stage.feed.directory.endpoint("ep_1").signing_keys  # type: ignore[union-attr]
    page = html.unescape((await acme.get(headers["Location"]))[1])
    assert status == 303 and earlier.public == first.public and "The signing key is replaced" in page
    assert second.public in page and first.public in page and "data-countdown" in page
    for sealed in (second, earlier):
        assert stage.ring.open(sealed, "acme/ep_1").removeprefix("whsk_")[:40] not in page
    page = html.unescape((await acme.get(f"{path}/verify?language=python-v1a"))[1])
    assert "Ed25519PublicKey" in page and f"{second.public} {first.public}" in page and "hmac.digest" not in page
    for scopes, may_rotate in ((["read"], False), (["read", "write"], True)):
        portal = await portal_of(stage, scopes=scopes)
        async with browser(stage) as customer:
            page = html.unescape((await customer.get(f"{portal}/endpoints/ep_1"))[1])
            assert second.public in page and ("/rotate-key" in page) is may_rotate
            assert ("<dd>both</dd>" in page) is not may_rotate


async def test_a_scheme_that_the_profile_cannot_carry_is_refused_beside_its_field(stage: Stage, acme: Browser) -> None:
    stage.endpoint(profile="bota")
    form = {"url": "https://acme.example/x", "types": ["*"], "version": "1", "signature_scheme": "v1a"}
    status, page, _ = await acme.post(f"{LIVE}/endpoints/ep_1/settings", form)
    assert status == 422 and "(standard and recall)" in page
    assert stage.feed.directory.endpoint("ep_1").signing_keys == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["endpoints", "endpoints/ep_1/settings"])
async def test_a_refused_form_does_not_show_submitted_secrets_again(stage: Stage, acme: Browser, place: str) -> None:
    stage.endpoint()
    form = {
        "url": "ftp://acme.example/",
        "types": ["user.created"],
        "version": "1",
        "key": "form_1",
        "secret": "whsec_s3cr3t",
        "headers": "X-Team: blue\nX-Api-Key: s3cr3t-key\nX-Pass: s3cr3t-pass\nAuthorization Bearer s3cr3t",
        "sensitive_headers": "x-pass",
        "auth": "basic",
        "auth.basic.username": "hooks",
        "auth.basic.password": "s3cr3t-word",
        "auth.bearer.token": "s3cr3t-token",
    }
    for headers in (form["headers"], "X-Team: blue\nX-Api-Key: s3cr3t-key\nX-Pass: s3cr3t-pass"):
        status, page, _ = await acme.post(f"{LIVE}/{place}", form | {"headers": headers})
        assert status == 422 and "s3cr3t" not in page
        assert "X-Team: blue" in page and "X-Api-Key:" in page and 'value="hooks"' in page
    sent_again = form | {"url": "https://acme.example/", "headers": "X-Team: blue\nX-Api-Key: ", "secret": ""}
    status, page, _ = await acme.post(f"{LIVE}/{place}", sent_again | {"auth.basic.password": ""})
    assert status == 422 and "enter the value of X-Api-Key" in page and "Password is required" in page
