"""The setting `auth`: its secret is sealed in the registry, masked in answers, and sent to the receiver."""

from __future__ import annotations

import datetime
import json
from typing import Any

import aiohttp
import msgspec
import pytest
import trustme

from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import TlsIdentity, TokenGrant
from app.core.model.receiver_auth import MASK
from tests.api.raw_http import JSON, ask, head
from tests.contracts.client_certificates import setting
from tests.dashboard.stage import KEYS, Stage, open_stage

ACME = KEYS["acme", "live"]
SECRET = "s3cr3t-of-acme"
BASIC = {"type": "basic", "username": "hooks", "password": SECRET}
BEARER = {"type": "bearer", "token": SECRET}
HEADER = {"type": "header", "name": "X-Hook-Pass", "value": SECRET}
FIELDS = {"basic": "password", "bearer": "token", "header": "value"}


async def call(stage: Stage, method: str, path: str, body: Any = None) -> tuple[int, str]:
    raw = json.dumps(body).encode() if body is not None else b""
    kind = {"Content_Type": JSON} if raw else {}
    answer = await ask(stage.url, head(method, path, key=ACME, length=len(raw), **kind) + raw)
    return answer.status, answer.body.decode()


async def created(stage: Stage, auth: Any, **more: Any) -> str:
    body = {"url": "https://acme.example/x", "events": "*", "auth": auth, **more}
    status, text = await call(stage, "POST", "/v1/webhooks", body)
    assert status == 201 and SECRET not in text, text
    return str(json.loads(text)["id"])


def stored(stage: Stage, id_: str) -> Endpoint:
    endpoint = stage.feed.directory.endpoint(id_)
    assert endpoint is not None
    return endpoint


def sent(stage: Stage, id_: str) -> dict[str, str]:
    return dict(stage.services.builder.prepared(stored(stage, id_), stage.clock.now_ms()).headers)


@pytest.mark.parametrize("auth", [BASIC, BEARER, HEADER], ids=list(FIELDS))
async def test_the_secret_is_sealed_in_the_registry_masked_in_answers_and_sent(auth: dict[str, str]) -> None:
    async with open_stage() as stage:
        id_ = await created(stage, auth)
        assert SECRET not in msgspec.json.encode(stored(stage, id_)).decode()
        for path in (f"/v1/webhooks/{id_}", "/v1/webhooks", "/v1/audit"):
            status, text = await call(stage, "GET", path)
            assert status == 200 and SECRET not in text
        _, text = await call(stage, "GET", f"/v1/webhooks/{id_}")
        assert json.loads(text)["auth"] == auth | {FIELDS[auth["type"]]: MASK}
        headers = sent(stage, id_)
        match auth["type"]:
            case "basic":
                assert aiohttp.BasicAuth.decode(headers["Authorization"], "utf-8") == ("hooks", SECRET, "utf-8")
            case "bearer":
                assert headers == {"Authorization": f"Bearer {SECRET}"}
            case _:
                assert headers == {"X-Hook-Pass": SECRET}


async def test_basic_credentials_are_utf_8() -> None:
    async with open_stage() as stage:
        id_ = await created(stage, {"type": "basic", "username": "jörg", "password": "pä:ss"})
        assert aiohttp.BasicAuth.decode(sent(stage, id_)["Authorization"], "utf-8")[:2] == ("jörg", "pä:ss")


async def test_without_authentication_none_is_shown_and_nothing_is_sent() -> None:
    async with open_stage() as stage:
        for auth in (None, {"type": "none"}):
            id_ = await created(stage, auth)
            _, text = await call(stage, "GET", f"/v1/webhooks/{id_}")
            assert json.loads(text)["auth"] == {"type": "none"}
            assert (stored(stage, id_).auth, sent(stage, id_)) == (None, {})


async def test_a_change_keeps_a_masked_secret_replaces_another_and_null_removes_it() -> None:
    async with open_stage() as stage:
        id_ = await created(stage, BASIC)
        path = f"/v1/webhooks/{id_}"
        status, _ = await call(stage, "PATCH", path, {"auth": BASIC | {"username": "other", "password": MASK}})
        assert status == 200
        assert aiohttp.BasicAuth.decode(sent(stage, id_)["Authorization"])[:2] == ("other", SECRET)
        status, _ = await call(stage, "PATCH", path, {"description": "later"})
        assert status == 200 and "Authorization" in sent(stage, id_)
        status, text = await call(stage, "PATCH", path, {"auth": {"type": "bearer", "token": "fresh-17"}})
        assert status == 200 and "fresh-17" not in text
        assert sent(stage, id_) == {"Authorization": "Bearer fresh-17"}
        status, _ = await call(stage, "PATCH", path, {"auth": None})
        assert (status, stored(stage, id_).auth, stored(stage, id_).sealed_auth) == (200, None, None)
        assert sent(stage, id_) == {}


async def test_a_mask_without_a_secret_of_the_same_type_is_refused() -> None:
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage, BEARER)}"
        for masked in (BASIC | {"password": MASK}, HEADER | {"value": MASK}):
            status, text = await call(stage, "PATCH", path, {"auth": masked})
            assert status == 422 and "send the secret" in text
        body = {"url": "https://acme.example/x", "events": "*", "auth": BEARER | {"token": MASK}}
        assert (await call(stage, "POST", "/v1/webhooks", body))[0] == 422


@pytest.mark.parametrize(
    ("auth", "pointer"),
    [
        (BEARER | {"token": "a\r\nX-Evil: 1"}, "/auth/token"),
        (BEARER | {"token": "a b"}, "/auth/token"),
        (BEARER | {"token": "ü" * 9}, "/auth/token"),
        (BEARER | {"token": ""}, "/auth/token"),
        (BEARER | {"token": "x" * 4097}, "/auth/token"),
        (BASIC | {"username": "a:b"}, "/auth/username"),
        (BASIC | {"username": "a\nb"}, "/auth/username"),
        (BASIC | {"password": "a\x00b"}, "/auth/password"),
        (HEADER | {"name": "Host"}, "/auth/name"),
        (HEADER | {"name": "webhook-signature"}, "/auth/name"),
        (HEADER | {"name": "X Y"}, "/auth/name"),
        (HEADER | {"name": "X:\r\nY"}, "/auth/name"),
        (HEADER | {"value": "a\nb"}, "/auth/value"),
        (HEADER | {"value": "  "}, "/auth/value"),
        ({"type": "digest"}, "/auth/type"),
        ({"type": "bearer"}, "/auth"),
        ({"token": "x"}, "/auth"),
        ("bearer", "/auth"),
    ],
)
async def test_what_cannot_be_sent_is_refused(auth: Any, pointer: str) -> None:
    async with open_stage() as stage:
        for method, path in (("POST", "/v1/webhooks"), ("PATCH", f"/v1/webhooks/{await created(stage, BASIC)}")):
            body = {"auth": auth} if method == "PATCH" else {"url": "https://a.example/", "events": "*", "auth": auth}
            status, text = await call(stage, method, path, body)
            assert status == 422 and json.loads(text)["errors"][0]["pointer"] == pointer, text
            assert SECRET not in text and "xxxx" not in text


@pytest.mark.parametrize("auth", [BASIC, BEARER, HEADER], ids=list(FIELDS))
async def test_two_settings_for_one_header_are_refused(auth: dict[str, str]) -> None:
    name = auth.get("name", "authorization").lower()
    async with open_stage() as stage:
        body = {"url": "https://acme.example/x", "events": "*", "auth": auth, "headers": {name: "x"}}
        status, text = await call(stage, "POST", "/v1/webhooks", body)
        assert status == 422 and "remove one of them" in text and SECRET not in text
        path = f"/v1/webhooks/{await created(stage, auth)}"
        status, text = await call(stage, "PATCH", path, {"headers": {name: "x"}})
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == "/headers"
        path = f"/v1/webhooks/{await created(stage, None, headers={name: 'x'})}"
        status, text = await call(stage, "PATCH", path, {"auth": auth})
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == "/auth"
        status, _ = await call(stage, "PATCH", path, {"auth": auth, "headers": {}})
        assert status == 200, "both at once"


@pytest.mark.parametrize("auth", [BASIC, BEARER, HEADER], ids=list(FIELDS))
async def test_a_test_call_sends_the_credentials_and_shows_the_mask(auth: dict[str, str]) -> None:
    async with open_stage() as stage:
        id_ = await created(stage, auth)
        status, text = await call(stage, "POST", f"/v1/webhooks/{id_}/test", {"type": "a.b", "data": {}})
        assert status == 200 and SECRET not in text
        name = auth.get("name", "Authorization")
        assert json.loads(text)["request"]["headers"][name] == MASK
        assert dict(stage.sender.requests[-1].headers)[name] == sent(stage, id_)[name]


async def test_the_registry_takes_sealed_secrets_only() -> None:
    async with open_stage() as stage:
        fine = stored(stage, await created(stage, BEARER))
        assert fine.auth is not None and fine.sealed_auth is not None
        plain = msgspec.structs.replace(fine, id="ep_plain", auth=msgspec.convert(BEARER, type(fine.auth)))
        for bad in (plain, msgspec.structs.replace(fine, id="ep_lost", sealed_auth=None)):
            with pytest.raises(Exception, match="sealed"):
                await stage.create(bad)


OAUTH = {
    "type": "oauth2_client_credentials",
    "token_url": "https://id.acme.example/token",
    "client_id": "hooks",
    "client_secret": SECRET,
    "scope": "a b",
    "audience": "x",
    "client_auth": "body",
}


async def test_oauth_credentials_are_sealed_masked_and_go_to_the_sender() -> None:
    async with open_stage() as stage:
        id_ = await created(stage, OAUTH)
        assert SECRET not in msgspec.json.encode(stored(stage, id_)).decode()
        _, text = await call(stage, "GET", f"/v1/webhooks/{id_}")
        assert json.loads(text)["auth"] == OAUTH | {"client_secret": MASK}
        status, text = await call(stage, "POST", f"/v1/webhooks/{id_}/test", {"type": "a.b", "data": {}})
        assert status == 200 and SECRET not in text
        assert json.loads(text)["request"]["headers"]["Authorization"] == MASK
        credential = stage.sender.requests[-1].credential
        assert isinstance(credential, TokenGrant)
        assert (credential.owner, credential.auth.client_secret) == (id_, SECRET)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"token_url": "ftp://id.acme.example/"}, "/auth/token_url"),
        ({"token_url": "https://id.acme.example/\r\nx: y"}, "/auth/token_url"),
        ({"client_id": "a\nb"}, "/auth/client_id"),
        ({"client_id": ""}, "/auth/client_id"),
        ({"client_secret": "a\x00b"}, "/auth/client_secret"),
        ({"scope": "a  b"}, "/auth/scope"),
        ({"scope": "ü"}, "/auth/scope"),
        ({"client_auth": "jwt"}, "/auth/client_auth"),
    ],
)
async def test_oauth_settings_that_cannot_be_sent_are_refused(change: dict[str, str], pointer: str) -> None:
    async with open_stage() as stage:
        body = {"url": "https://acme.example/x", "events": "*", "auth": OAUTH | change}
        status, text = await call(stage, "POST", "/v1/webhooks", body)
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == pointer and SECRET not in text


async def test_a_masked_client_secret_goes_to_no_other_token_server() -> None:
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage, OAUTH)}"
        masked = OAUTH | {"client_secret": MASK}
        for change in ({"token_url": "https://evil.example/token"}, {"client_id": "other"}):
            status, text = await call(stage, "PATCH", path, {"auth": masked | change})
            assert status == 422 and "send the secret" in text
        status, _ = await call(stage, "PATCH", path, {"auth": masked | {"scope": "c"}})
        assert status == 200


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_a_client_certificate_is_shown_with_its_end_and_its_key_is_sealed(authority: trustme.CA) -> None:
    end = datetime.datetime(2031, 5, 6, tzinfo=datetime.UTC)
    auth = setting(authority.issue_cert("acme@x", not_after=end), authority)
    async with open_stage() as stage:
        id_ = await created(stage, auth)
        assert "PRIVATE" not in msgspec.json.encode(stored(stage, id_)).decode()
        for path in (f"/v1/webhooks/{id_}", "/v1/audit"):
            assert "PRIVATE" not in (await call(stage, "GET", path))[1]
        shown = json.loads((await call(stage, "GET", f"/v1/webhooks/{id_}"))[1])
        assert shown["auth_expires_at"] == "2031-05-06T00:00:00.000Z"
        assert shown["auth"] == auth | {"private_key": MASK}
        await call(stage, "POST", f"/v1/webhooks/{id_}/test", {"type": "a.b", "data": {}})
        identity = stage.sender.requests[-1].credential
        assert isinstance(identity, TlsIdentity) and identity.private_key == auth["private_key"]


async def test_a_certificate_is_renewed_with_the_same_key_or_with_another(authority: trustme.CA) -> None:
    first, second = (setting(authority.issue_cert(f"{name}@x")) for name in ("first", "second"))
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage, first)}"
        status, text = await call(stage, "PATCH", path, {"auth": second | {"private_key": MASK}})
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == "/auth/private_key"
        assert (await call(stage, "PATCH", path, {"auth": first | {"private_key": MASK}}))[0] == 200
        assert (await call(stage, "PATCH", path, {"auth": second}))[0] == 200
        status, text = await call(stage, "PATCH", path, {"auth": None})
        assert status == 200 and json.loads(text)["auth_expires_at"] is None


async def test_an_expired_certificate_does_not_keep_other_fields_from_being_changed(authority: trustme.CA) -> None:
    auth = setting(authority.issue_cert("acme@x"))
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage, auth)}"
        stage.clock.jump(2_000 * 366 * 86_400_000)
        crlf = auth["certificate"].replace("\n", "\r\n").strip()
        kept = auth | {"private_key": MASK, "certificate": crlf}
        assert (await call(stage, "PATCH", path, {"auth": kept, "description": "later"}))[0] == 200
        status, text = await call(stage, "PATCH", path, {"auth": auth})
        assert status == 422 and "has expired at" in text and "PRIVATE" not in text


async def test_a_certificate_needs_https(authority: trustme.CA) -> None:
    auth = setting(authority.issue_cert("acme@x"))
    async with open_stage(allow_http=True) as stage:
        body = {"url": "http://acme.example/x", "events": "*", "auth": auth}
        status, text = await call(stage, "POST", "/v1/webhooks", body)
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == "/auth"
        path = f"/v1/webhooks/{await created(stage, auth)}"
        status, text = await call(stage, "PATCH", path, {"url": "http://acme.example/x"})
        assert status == 422 and json.loads(text)["errors"][0]["pointer"] == "/url"
