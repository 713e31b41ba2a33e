"""v1a on a real service: a receiver with a public key verifies, beside one that has the secret, also in a rotation."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from standardwebhooks import Webhook as StandardVerifier

from app.embedded.receiver.receiver import Received
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, service
from tests.patience import PATIENCE_S
from tests.receivers.launch import oracle


def fits(public: str, received: Received) -> bool:
    """Whether a v1a signature was made with the private half, by `cryptography`."""
    headers = received.headers
    key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_"), validate=True))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    for each in headers["webhook-signature"].split(" "):
        scheme, _, signature = each.partition(",")
        try:
            if scheme == "v1a":
                key.verify(b64decode(signature, validate=True), signed)
                return True
        except InvalidSignature:
            continue
    return False


def schemes(headers: Mapping[str, str]) -> list[str]:
    return [each.partition(",")[0] for each in headers["webhook-signature"].split(" ")]


async def published(running: Service, id_: str) -> list[str]:
    """What everybody sees, without a key."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{running.api_url}/.well-known/webhook-keys/{id_}") as answer,
    ):
        assert answer.status == 200, await answer.text()
        return [each["public_key"] for each in (await answer.json())["keys"]]


async def until_published(running: Service, id_: str) -> list[str]:
    """The same of an endpoint that was changed over Kafka, which the API follows."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await published(running, id_)
            except AssertionError:
                await pause(0.1)


async def test_both_schemes_verify_through_a_rotation_and_a_change(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        key = await running.key("acme")
        body = {"url": f"{base}/standard/a", "events": "*", "signature_scheme": "both"}
        made = (await running.ask("POST", "/v1/webhooks", body, key=key)).body
        path = f"/v1/webhooks/{made['id']}"
        (first,) = await published(running, made["id"])
        assert first == made["signing_keys"][0]["public_key"]

        async def sent() -> Received:
            event: dict[str, Any] = {"type": "a.b", "data": {"text": "für 3 €"}}
            id_ = (await running.ask("POST", "/v1/events", event, key=key)).body["id"]
            await box.until(lambda: id_ in box.ids("/standard/a"))
            return next(each for each in box.received if each.event_id == id_)

        received = await sent()
        assert schemes(received.headers) == ["v1", "v1a"] and fits(first, received)
        StandardVerifier(made["secret"]).verify(received.body, received.headers)

        rotated = await running.ask("POST", f"{path}/rotate-signing-key", {"overlap": 86_400}, key=key)
        assert rotated.status == 200, rotated
        second, old = await published(running, made["id"])
        assert old == first != second
        received = await sent()
        assert schemes(received.headers) == ["v1", "v1a", "v1a"] and fits(first, received) and fits(second, received)

        await running.ask("POST", f"{path}/rotate-signing-key", {"overlap": 0}, key=key)
        await running.ask("PATCH", path, {"signature_scheme": "v1a"}, key=key)
        (third,) = await published(running, made["id"])
        received = await sent()
        assert schemes(received.headers) == ["v1a"] and fits(third, received)
        assert not fits(first, received) and not fits(second, received)
        with oracle("ed25519.js") as node:
            question = {
                "public": third,
                "family": "webhook",
                "headers": dict(received.headers),
                "body": b64encode(received.body).decode(),
            }
            assert node.ask([question]) == [b"0"]

        await running.ask("PATCH", path, {"signature_scheme": "v1"}, key=key)
        received = await sent()
        assert schemes(received.headers) == ["v1"]
        StandardVerifier(made["secret"]).verify(received.body, received.headers)


async def test_a_message_signature_verifies_at_the_receiver(shared: Service) -> None:
    key = await shared.key("messages", profile="bota")
    async with inbox() as (box, base):
        body = {"url": f"{base}/bota/a?x=1&y=%20", "events": "*", "signature_scheme": "rfc9421"}
        made = (await shared.ask("POST", "/v1/webhooks", body, key=key)).body
        public = made["signing_keys"][0]["public_key"]
        event = {"type": "recording.created", "data": {"text": "für 3 €"}}
        assert (await shared.ask("POST", "/v1/events", event, key=key)).status == 202
        await box.until(lambda: bool(box.received))
        received = box.received[0]
        url = f"http://{received.headers['host']}/bota/a?x=1&y=%20"
        raw = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
        verifier = HTTPMessageVerifier(
            signature_algorithm=algorithms.ED25519,
            key_resolver=MappingKeyResolver(public_keys={public: raw}, private_keys={}),
        )
        message = SimpleNamespace(method="POST", url=url, headers=received.headers)
        (result,) = verifier.verify(message, body=received.body, expect_tag=public)
        assert result.body == received.body and "x-bota-signature" not in received.headers


async def test_over_kafka_a_key_is_made_rotated_and_never_shown(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running:
        added = await running.add("https://127.0.0.1:9/", signature_scheme="both")
        plain = await running.add("https://127.0.0.1:9/")
        assert plain["public_keys"] == [] and len(added["public_keys"]) == 1
        assert await until_published(running, added["id"]) == added["public_keys"]
        changed = await running.cli("endpoints", "update", plain["id"], "--signature-scheme", "v1a", "-o", "json")
        assert await until_published(running, plain["id"]) == changed["public_keys"] != []
        refused = str(await running.cli("endpoints", "update", plain["id"], "--signature", "bota", expect=3))
        assert "standard and recall" in refused
        sealed = await running.cli("keys", "rotate", "-o", "json")
        assert sealed["failed"] == 0 and "whsk_" not in str([added, changed, sealed])


@pytest.mark.parametrize("scheme", ["v1a", "both"])
async def test_the_demo_receiver_verifies_with_a_public_key(shared: Service, scheme: str) -> None:
    key = await shared.key(f"asymmetric-{scheme}")
    async with inbox() as (box, base):
        body = {"url": f"{base}/standard/{scheme}", "events": "*", "signature_scheme": scheme}
        made = (await shared.ask("POST", "/v1/webhooks", body, key=key)).body
        box.receiver.register(f"standard/{scheme}", "standard", made["signing_keys"][0]["public_key"])
        await shared.ask("POST", "/v1/events", {"type": "a.b", "data": {}}, key=key)
        await box.until(lambda: bool(box.received))
        assert box.received[0].verified
