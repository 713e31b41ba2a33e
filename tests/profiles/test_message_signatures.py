"""HTTP message signatures (RFC 9421) as a third-party verifier sees them."""

from __future__ import annotations

import datetime
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, get_args

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, MappingKeyResolver, algorithms

from app.adapters.clock import SystemClock
from app.core.errors import Defect
from app.core.model.endpoint_settings import Envelope
from app.core.model.http_exchange import HttpRequest
from app.profiles.catalog import PROFILES
from app.profiles.message_signatures import MessageSignatures, target_of
from app.profiles.requests import RequestBuilder
from app.profiles.secrets import secret_problem
from tests.profiles.test_v1a import NOW, RING, built, endpoint, signing_key

COVERED = ("@method", "@authority", "@path", "@query", "content-digest", "content-type", "webhook-id")
FIVE_MINUTES = datetime.timedelta(minutes=5)


class Message(NamedTuple):
    """A request as the library reads it."""

    method: str
    url: str
    headers: dict[str, str]


def verify(request: HttpRequest, public: str, *, body: bytes | None = None, **changes: Any) -> None:
    """Raises `InvalidSignature`."""
    key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
    resolver = MappingKeyResolver(public_keys={public: key}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=resolver)
    message = Message("POST", request.url, dict(request.headers))._replace(**changes)
    (result,) = verifier.verify(
        message,
        expect_tag=public,
        max_age=FIVE_MINUTES,
        require_components=COVERED,
        body=request.body if body is None else body,
    )
    assert result.body == (request.body if body is None else body)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_can_have_one(profile: str) -> None:
    key = signing_key()
    of = endpoint(profile, "rfc9421", key)
    request = built(of)
    verify(request, key.public)
    names = [name for name, _ in request.headers]
    assert {"content-digest", "signature-input", "signature"} <= set(names) and len(names) == len(set(names))
    assert not any("v1," in value for name, value in request.headers if "signature" in name)
    if profile in ("standard", "recall"):
        assert secret_problem(of, RING.open, NOW) is None
    else:
        found = secret_problem(of, lambda sealed, owner: "any text", NOW)
        assert found is None
    missing = secret_problem(endpoint(profile, "rfc9421"), RING.open, NOW)
    assert missing is not None and missing.startswith("signature_scheme: ")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example/",
        "https://A.Example:443/x",
        "http://a.example:80/x",
        "https://a.example:8443/x/y%20z?b=2&a=1&b=",
        "https://a.example/x?",
        "http://[::1]:9000/x?a",
        "https://a.example/a/../b;c,d?e=%2F",
    ],
)
def test_the_target_is_that_of_the_url(url: str) -> None:
    key = signing_key()
    request = built(endpoint("standard", "rfc9421", key, url=url))
    assert request.url == url
    verify(request, key.public)


@pytest.mark.parametrize("envelope", get_args(Envelope))
def test_every_envelope_can_have_one(envelope: Envelope) -> None:
    key = signing_key()
    verify(built(endpoint("standard", "rfc9421", key, envelope=envelope)), key.public)


def test_what_is_changed_does_not_verify() -> None:
    key, other = signing_key(), signing_key()
    request = built(endpoint("standard", "rfc9421", key))
    headers = dict(request.headers)
    digest = f"sha-256=:{b64encode(sha256(b'{}').digest()).decode()}:"
    for changes in (
        {"body": b"{}"},
        {"body": b"{}", "headers": headers | {"content-digest": digest}},
        {"url": "https://b.example/"},
        {"url": "https://a.example/?x=1"},
        {"method": "PUT"},
        {"headers": headers | {"webhook-id": "evt_2"}},
        {"headers": headers | {"content-type": "text/plain"}},
        {"headers": {name: value for name, value in headers.items() if name != "signature"}},
    ):
        with pytest.raises(InvalidSignature):
            verify(request, key.public, **changes)
    with pytest.raises(InvalidSignature):
        verify(request, other.public)
    late = built(endpoint("standard", "rfc9421", key), SystemClock().now_ms() - 600_000)
    with pytest.raises(InvalidSignature):
        verify(late, key.public)


def test_both_keys_sign_until_the_earlier_one_ends() -> None:
    now_ms = SystemClock().now_ms()
    newest, earlier = signing_key(), signing_key(now_ms + 10_000)
    of, builder = endpoint("standard", "rfc9421", newest, earlier), RequestBuilder(RING.open, 1.0, RING.signer)
    request = built(of, now_ms, builder)
    verify(request, newest.public)
    verify(request, earlier.public)
    later = built(of, now_ms + 10_000, builder)
    assert earlier.public not in dict(later.headers)["signature-input"]


def test_nothing_goes_out_without_a_key() -> None:
    with pytest.raises(Defect):
        MessageSignatures(target_of("https://a.example/"), ())(b"{}", (), "evt_1", 1)


def test_the_signature_is_made_with_the_private_half() -> None:
    seed = bytes(32)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = "whpk_" + b64encode(private.public_key().public_bytes_raw()).decode()
    headers = dict(MessageSignatures(target_of("https://a.example/x?y"), ((public, private.sign),))(b"{}", (), "e", 5))
    base = (
        '"@method": POST\n"@authority": a.example\n"@path": /x\n"@query": ?y\n'
        f'"content-digest": {headers["content-digest"]}\n"content-type": application/json\n"webhook-id": e\n'
        f'"@signature-params": {headers["signature-input"].removeprefix("sig1=")}'
    )
    private.public_key().verify(b64decode(headers["signature"].removeprefix("sig1=:").removesuffix(":")), base.encode())


def test_the_code_of_the_document_works() -> None:
    document = (Path(__file__).parents[2] / "docs" / "signatures.md").read_text(encoding="utf-8")
    code = document.partition("## HTTP message signatures")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    key, app = signing_key(), flask.Flask("receiver")
    request = built(endpoint("standard", "rfc9421", key, url="https://a.example/hooks?a=1"))

    @app.post("/hooks")
    def hooks() -> tuple[bytes, int]:
        try:
            return names["verify"](flask.request, key.public), 200
        except InvalidSignature:
            return b"", 401

    for body, status in ((request.body, 200), (request.body + b" ", 401)):
        answer = app.test_client().post(request.url, data=body, headers=list(request.headers))
        assert answer.status_code == status and answer.data == (body if status == 200 else b"")
