"""v1a beside v1: what goes out is verified by Node's and Python's Ed25519, and by the public libraries of v1."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import standardwebhooks
import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.adapters.clock import SystemClock
from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.errors import ConfigError, Defect
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SigningKey
from app.core.model.http_exchange import HttpRequest
from app.profiles.catalog import PROFILES
from app.profiles.requests import RequestBuilder
from app.profiles.secrets import secret_problem
from tests.receivers.launch import Oracle, oracle

RING = AesKeyRing(generate_ring())
NOW = 1_800_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAMILIES = {"standard": "webhook", "recall": "svix"}
LIBRARIES: dict[str, Any] = {"standard": standardwebhooks.Webhook, "recall": svix.Webhook}

each_family = pytest.mark.parametrize("profile", FAMILIES)


@pytest.fixture(scope="module")
def verifier() -> Iterator[Oracle]:
    with oracle("ed25519.js") as running:
        yield running


def signing_key(until_ms: int | None = None, owner: str = "acme/ep") -> SigningKey:
    return msgspec.structs.replace(RING.seal_key(None, owner, 0), expires_at_ms=until_ms)


def endpoint(profile: str, scheme: Any, *keys: SigningKey, **more: Any) -> Endpoint:
    return Endpoint(
        id="ep",
        tenant="acme",
        mode="live",
        url=more.pop("url", "https://a.example/"),
        events=("*",),
        profile=profile,
        secrets=(RING.seal(SECRET, "acme/ep", 0),),
        signature_scheme=scheme,
        signing_keys=keys,
        **more,
    )


def built(of: Endpoint, now_ms: int | None = None, builder: RequestBuilder | None = None) -> HttpRequest:
    """The request of an endpoint; of now, because the libraries compare its time with their clock."""
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    delivery = Delivery(
        id="dlv",
        endpoint_id="ep",
        event_id="evt_1",
        event_type="a.b",
        tenant="acme",
        mode="live",
        created_at="2026-01-01T00:00:00Z",
        body='{"data":{"text":"für 3 €"}}'.encode(),
    )
    builder = builder or RequestBuilder(RING.open, 1.0, RING.signer)
    return builder.request(delivery, of, builder.prepared(of, now_ms), now_ms)


def schemes(request: HttpRequest, family: str) -> list[str]:
    return [each.partition(",")[0] for each in dict(request.headers)[f"{family}-signature"].split(" ")]


def fitting(verifier: Oracle, request: HttpRequest, family: str, key: SigningKey) -> list[int]:
    """The numbers of the v1a signatures that Node finds valid; Python's answers are the same."""
    headers = dict(request.headers)
    question = {"public": key.public, "headers": headers, "family": family, "body": b64encode(request.body).decode()}
    (answer,) = verifier.ask([question])
    found = [int(each) for each in answer.decode().split(",") if each]
    public = Ed25519PublicKey.from_public_bytes(b64decode(key.public.removeprefix("whpk_")))
    signed = f"{headers[f'{family}-id']}.{headers[f'{family}-timestamp']}.".encode() + request.body
    entries = [each for each in headers[f"{family}-signature"].split(" ") if each.startswith("v1a,")]
    for number, entry in enumerate(entries):
        try:
            public.verify(b64decode(entry[4:], validate=True), signed)
        except InvalidSignature:
            assert number not in found
        else:
            assert number in found
    return found


@each_family
@pytest.mark.parametrize(("scheme", "written"), [("v1", ["v1"]), ("v1a", ["v1a"]), ("both", ["v1", "v1a"])])
def test_the_header_has_the_scheme(verifier: Oracle, profile: str, scheme: str, written: list[str]) -> None:
    key, other, family = signing_key(), signing_key(), FAMILIES[profile]
    request = built(endpoint(profile, scheme, key))
    assert schemes(request, family) == written
    if scheme != "v1":
        assert fitting(verifier, request, family, key) == [0] and fitting(verifier, request, family, other) == []
    if scheme != "v1a":
        LIBRARIES[profile](SECRET).verify(request.body, dict(request.headers))


@each_family
def test_the_libraries_of_v1_refuse_v1a_alone(profile: str) -> None:
    request = built(endpoint(profile, "v1a", signing_key()))
    with pytest.raises((standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)):
        LIBRARIES[profile](SECRET).verify(request.body, dict(request.headers))


def test_both_keys_sign_until_the_earlier_one_ends(verifier: Oracle) -> None:
    newest, earlier, gone = signing_key(), signing_key(NOW + 10_000), signing_key(NOW)
    of, builder = endpoint("standard", "both", newest, earlier, gone), RequestBuilder(RING.open, 1.0, RING.signer)
    request = built(of, NOW, builder)
    assert schemes(request, "webhook") == ["v1", "v1a", "v1a"]
    assert [fitting(verifier, request, "webhook", each) for each in of.signing_keys] == [[0], [1], []]
    later = built(of, NOW + 10_000, builder)
    assert schemes(later, "webhook") == ["v1", "v1a"]
    assert [fitting(verifier, later, "webhook", each) for each in of.signing_keys] == [[0], [], []]


def test_v1_signs_with_the_profile_alone_and_opens_no_key() -> None:
    def signer(sealed: object, owner: str) -> Any:
        raise AssertionError("a key was opened")

    of = endpoint("standard", "v1", signing_key())
    parts = RequestBuilder(RING.open, 1.0, signer).prepared(of, NOW)
    assert parts.signature is PROFILES["standard"].headers


def test_v1a_opens_no_secret() -> None:
    def lost(sealed: object, owner: str) -> str:
        raise ConfigError(["lost"])

    request = built(endpoint("standard", "v1a", signing_key()), builder=RequestBuilder(lost, 1.0, RING.signer))
    assert schemes(request, "webhook") == ["v1a"]


def test_nothing_goes_out_without_a_key_or_with_a_header_that_has_no_room() -> None:
    for of in (endpoint("standard", "both"), endpoint("standard", "v1a", signing_key(1)), endpoint("bota", "v1a")):
        with pytest.raises(Defect):
            built(of)


@pytest.mark.parametrize("profile", PROFILES)
def test_only_lists_of_signatures_have_room_for_v1a(profile: str) -> None:
    found = secret_problem(endpoint(profile, "both", signing_key()), RING.open, NOW)
    if profile in FAMILIES:
        assert found is None
    else:
        assert found is not None and found.startswith("signature_scheme: ") and "(standard and recall)" in found
        assert secret_problem(endpoint(profile, "v1", signing_key()), RING.open, NOW) is None
        lent = endpoint(profile, "both", signing_key(), signature="standard")
        assert secret_problem(lent, RING.open, NOW) is None


def test_a_scheme_without_a_key_is_refused() -> None:
    for keys in ((), (signing_key(NOW),)):
        found = secret_problem(endpoint("standard", "v1a", *keys), RING.open, NOW)
        assert found is not None and "rotate it first" in found
