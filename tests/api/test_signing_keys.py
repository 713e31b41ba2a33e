"""Signing keys of v1a over the API: made, rotated, published, and never shown."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.api.server.rate_limits import CallLimits
from app.core.model.endpoint import Endpoint
from tests.api.raw_http import JSON, RawAnswer, ask, head
from tests.dashboard.stage import KEYS, READ_ONLY, Stage, open_stage

ACME = KEYS["acme", "live"]


async def request(stage: Stage, method: str, path: str, body: Any = None, *, key: str = ACME, **more: str) -> RawAnswer:
    raw = json.dumps(body).encode() if body is not None else b""
    kind = {"Content_Type": JSON} if raw else {}
    return await ask(stage.url, head(method, path, key=key, length=len(raw), **kind, **more) + raw)


async def call(stage: Stage, method: str, path: str, body: Any = None, **more: str) -> tuple[int, Any]:
    answer = await request(stage, method, path, body, **more)
    return answer.status, json.loads(answer.body or b"null")


async def created(stage: Stage, **fields: Any) -> dict[str, Any]:
    status, body = await call(stage, "POST", "/v1/webhooks", {"url": "https://acme.example/x", "events": "*"} | fields)
    assert status == 201, body
    return dict(body)


async def published(stage: Stage, id_: str) -> list[str]:
    answer = await request(stage, "GET", f"/.well-known/webhook-keys/{id_}", key="")
    assert answer.status == 200 and b"cache-control: public, max-age=60" in answer.head.lower()
    return [each["public_key"] for each in json.loads(answer.body)["keys"]]


def stored(stage: Stage, id_: str) -> Endpoint:
    endpoint = stage.feed.directory.endpoint(id_)
    assert endpoint is not None
    return endpoint


def opened(stage: Stage, id_: str) -> list[str]:
    """The private keys."""
    endpoint = stored(stage, id_)
    return [stage.ring.open(each, endpoint.secret_owner) for each in endpoint.signing_keys]


def public_half(private: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(b64decode(private.removeprefix("whsk_"))[:32])
    return "whpk_" + b64encode(key.public_key().public_bytes_raw()).decode()


async def test_a_key_is_made_with_the_scheme_and_its_public_half_is_shown() -> None:
    async with open_stage() as stage:
        for scheme in ("v1a", "both"):
            made = await created(stage, signature_scheme=scheme)
            (private,), (shown,) = opened(stage, made["id"]), made["signing_keys"]
            assert made["signature_scheme"] == scheme and made["secret"].startswith("whsec_")
            assert shown["public_key"] == public_half(private) and shown["expires_at"] is None
            assert await published(stage, made["id"]) == [shown["public_key"]]


async def test_v1_has_no_key_and_a_change_makes_one_once() -> None:
    async with open_stage() as stage:
        made = await created(stage)
        assert (made["signature_scheme"], made["signing_keys"]) == ("v1", [])
        path = f"/v1/webhooks/{made['id']}"
        _, changed = await call(stage, "PATCH", path, {"signature_scheme": "both"})
        _, again = await call(stage, "PATCH", path, {"signature_scheme": "v1a"})
        _, back = await call(stage, "PATCH", path, {"signature_scheme": "v1"})
        assert changed["signing_keys"] == again["signing_keys"] == back["signing_keys"] != []
        assert (again["signature_scheme"], back["signature_scheme"]) == ("v1a", "v1")


async def test_no_answer_record_or_audit_entry_has_the_private_key() -> None:
    async with open_stage() as stage:
        own = Ed25519PrivateKey.generate()
        text = b64encode(own.private_bytes_raw() + own.public_key().public_bytes_raw()).decode()
        made = await created(stage, signature_scheme="both", signing_key=f"whsk_{text}")
        path = f"/v1/webhooks/{made['id']}"
        assert opened(stage, made["id"]) == [f"whsk_{text}"]
        rotated = await request(stage, "POST", f"{path}/rotate-signing-key", {})
        answers = [rotated, await request(stage, "POST", f"{path}/test", {"type": "a.b", "data": {}})]
        for other in (path, "/v1/webhooks", "/v1/audit", f"/.well-known/webhook-keys/{made['id']}"):
            answers.append(await request(stage, "GET", other))
        for answer in answers:
            assert answer.status == 200 and b"whsk_" not in answer.body
            for private in opened(stage, made["id"]):
                assert private.removeprefix("whsk_")[:40].encode() not in answer.body
        assert b"endpoint.rotate-key" in (await request(stage, "GET", "/v1/audit")).body


async def test_a_rotation_overlaps_and_ends() -> None:
    async with open_stage() as stage:
        made = await created(stage, signature_scheme="both")
        id_, path = made["id"], f"/v1/webhooks/{made['id']}/rotate-signing-key"
        (first,) = await published(stage, id_)
        status, rotated = await call(stage, "POST", path, {"overlap": 3600}, Idempotency_Key="once")
        assert status == 200
        second, old = (each["public_key"] for each in rotated["signing_keys"])
        assert old == first and rotated["signing_keys"][1]["expires_at"] is not None
        assert await published(stage, id_) == [second, first]
        stage.server.forget_answers()
        _, again = await call(stage, "POST", path, {"overlap": 3600}, Idempotency_Key="once")
        assert again["signing_keys"] == rotated["signing_keys"], "a repetition makes no further key"
        assert "secret_hint" not in again and len(stored(stage, id_).secrets) == 1
        stage.clock.jump(3_600_000)
        assert await published(stage, id_) == [second]
        _, at_once = await call(stage, "POST", path, {"overlap": 0})
        assert await published(stage, id_) == [each["public_key"] for each in at_once["signing_keys"]] != [second]


async def test_a_sent_request_is_signed_with_the_published_key() -> None:
    async with open_stage() as stage:
        made = await created(stage, signature_scheme="both")
        status, _ = await call(stage, "POST", f"/v1/webhooks/{made['id']}/test", {"type": "a.b", "data": {}})
        assert status == 200
        sent = stage.sender.requests[-1]
        headers = dict(sent.headers)
        v1, v1a = headers["webhook-signature"].split(" ")
        assert v1.startswith("v1,") and v1a.startswith("v1a,")
        (public,) = await published(stage, made["id"])
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + sent.body
        Ed25519PublicKey.from_public_bytes(b64decode(public[5:])).verify(b64decode(v1a[4:]), signed)


@pytest.mark.parametrize("profile", ["bota", "efficlose", "voxscriber"])
async def test_a_signature_without_room_is_refused_with_a_sentence(profile: str) -> None:
    async with open_stage() as stage:
        body = {"url": "https://acme.example/x", "events": "*", "profile": profile, "signature_scheme": "v1a"}
        status, problem = await call(stage, "POST", "/v1/webhooks", body)
        assert status == 422 and problem["errors"][0]["pointer"] == "/signature_scheme"
        assert "standard and recall" in problem["detail"] and profile in problem["detail"]
        path = f"/v1/webhooks/{(await created(stage, profile=profile))['id']}"
        assert (await call(stage, "PATCH", path, {"signature_scheme": "both"}))[0] == 422
        lent = await call(stage, "PATCH", path, {"signature": "standard", "signature_scheme": "both"})
        if profile != "voxscriber":
            assert lent[0] == 200 and len(lent[1]["signing_keys"]) == 1
        status, problem = await call(stage, "PATCH", path, {"signature": None})
        assert status == 422 and problem["errors"][0]["pointer"] == "/signature"


@pytest.mark.parametrize("profile", ["standard", "bota"])
async def test_message_signatures_are_for_every_profile_and_own_their_headers(profile: str) -> None:
    async with open_stage() as stage:
        made = await created(stage, profile=profile, signature_scheme="rfc9421")
        path = f"/v1/webhooks/{made['id']}"
        assert await published(stage, made["id"]) == [each["public_key"] for each in made["signing_keys"]]
        assert (await call(stage, "POST", f"{path}/rotate-signing-key", {}))[0] == 200
        status, problem = await call(stage, "PATCH", path, {"headers": {"Signature": "x"}})
        assert status == 422 and problem["errors"][0]["pointer"] == "/headers"
        await call(stage, "PATCH", path, {"signature_scheme": "v1"})
        assert (await call(stage, "PATCH", path, {"headers": {"Signature": "x"}}))[0] == 200
        status, problem = await call(stage, "PATCH", path, {"signature_scheme": "rfc9421"})
        assert status == 422 and "Signature is set by" in problem["detail"]


@pytest.mark.parametrize("key", ["", "whsk_", "whsec_AAAA", "whsk_AAAA", "whsk_" + "A" * 400, "ä"])
async def test_what_is_no_private_key_is_refused(key: str) -> None:
    async with open_stage() as stage:
        body = {"url": "https://acme.example/x", "events": "*", "signing_key": key}
        status, problem = await call(stage, "POST", "/v1/webhooks", body)
        assert status == 422 and problem["errors"][0]["pointer"] == "/signing_key"
        path = f"/v1/webhooks/{(await created(stage))['id']}/rotate-signing-key"
        status, problem = await call(stage, "POST", path, {"signing_key": key})
        assert status == 422 and problem["errors"][0]["pointer"] == "/signing_key"


async def test_two_changes_at_once_do_not_replace_each_others_key() -> None:
    async with open_stage() as stage:
        made = await created(stage)
        path = f"/v1/webhooks/{made['id']}"
        status, _ = await call(stage, "PATCH", path, {"signature_scheme": "both"}, If_Match='"7"')
        assert status == 412 and stored(stage, made["id"]).signing_keys == ()
        answers = await asyncio.gather(*(call(stage, "PATCH", path, {"signature_scheme": "both"}) for _ in range(2)))
        assert {status for status, _ in answers} <= {200, 412}
        await call(stage, "PATCH", path, {"signature_scheme": "both"})
        (key,) = await published(stage, made["id"])
        assert {each["public_key"] for status, body in answers if status == 200 for each in body["signing_keys"]} == {
            key
        }


async def test_strangers_learn_no_more_than_keys_and_may_not_ask_too_often() -> None:
    async with open_stage() as stage:
        without = await created(stage)
        for id_ in ("ep_nobody", without["id"], "x" * 3000, "%00", "..%2fx"):
            answer = await request(stage, "GET", f"/.well-known/webhook-keys/{id_}", key="")
            assert answer.status == 404 and b"acme" not in answer.body
        assert (await request(stage, "GET", "/.well-known/webhook-keys/x?a=1", key="")).status == 400
        assert (await request(stage, "GET", "/.well-known/webhook-keys/x", {"a": 1}, key="")).status == 413
        assert (await request(stage, "POST", "/.well-known/webhook-keys/x", key="")).status == 405
        stage.server.limits = CallLimits(5, 20)
        statuses = [(await request(stage, "GET", "/.well-known/webhook-keys/x", key="")).status for _ in range(10)]
        assert statuses[0] == 404 and statuses[-1] == 429, statuses


async def test_a_reader_does_not_rotate() -> None:
    async with open_stage() as stage:
        made = await created(stage)
        answer = await request(stage, "POST", f"/v1/webhooks/{made['id']}/rotate-signing-key", {}, key=READ_ONLY)
        assert answer.status == 403
