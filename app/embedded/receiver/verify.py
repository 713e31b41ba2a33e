"""Verifies signatures as a customer's receiver does: written from the products' documents, without the signing code."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

#: Seconds between the signature's time and now that the Standard Webhooks libraries accept.
TOLERANCE_S = 300

ReceivedHeaders = Mapping[str, str]
SignatureCheck = Callable[[str, ReceivedHeaders, bytes, float], str | None]


def verify(profile: str, secret: str, headers: ReceivedHeaders, body: bytes, now_s: float) -> str | None:
    """None if the signature is valid, otherwise the reason. `headers` has lower-case names; `body`: as received."""
    return CHECKS[profile](secret, headers, body, now_s)


def _signed_envelope(prefix: str) -> SignatureCheck:
    """Standard Webhooks, and Svix before it: id, time and body are signed; the header may have several signatures."""

    def check(secret: str, headers: ReceivedHeaders, body: bytes, now_s: float) -> str | None:
        identity, timestamp, signatures = (headers.get(f"{prefix}-{part}") for part in ("id", "timestamp", "signature"))
        if not identity or not timestamp or not signatures:
            return f"a {prefix}-* header is missing"
        if not timestamp.isdecimal() or abs(now_s - int(timestamp)) > TOLERANCE_S:
            return f"{prefix}-timestamp is more than {TOLERANCE_S} s away"
        message = b".".join((identity.encode(), timestamp.encode(), body))
        if secret.startswith("whpk_"):
            return _asymmetric(secret, signatures, message, prefix)
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return "the secret is not whsec_ and base64"
        digest = hmac.digest(key, message, hashlib.sha256)
        expected = "v1," + base64.b64encode(digest).decode()
        if any(_same(expected, signature) for signature in signatures.split(" ")):
            return None
        return f"no signature in {prefix}-signature fits"

    return check


def _asymmetric(public: str, signatures: str, message: bytes, prefix: str) -> str | None:
    """Standard Webhooks v1a: Ed25519 with the public key."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_"), validate=True))
    except ValueError:
        return "the public key is not whpk_ and the base64 of 32 bytes"
    for signature in signatures.split(" "):
        scheme, _, encoded = signature.partition(",")
        try:
            if scheme == "v1a":
                key.verify(base64.b64decode(encoded, validate=True), message)
                return None
        except (ValueError, InvalidSignature):
            continue
    return f"no v1a signature in {prefix}-signature fits"


def _signed_body(header: str, prefix: str) -> SignatureCheck:
    """HMAC-SHA256 of the raw body in hex, keyed with the secret's own characters."""

    def check(secret: str, headers: ReceivedHeaders, body: bytes, _: float) -> str | None:
        signature = headers.get(header)
        if not signature:
            return f"{header} is missing"
        expected = prefix + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
        return None if _same(expected, signature) else f"{header} does not fit the body"

    return check


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


CHECKS: Mapping[str, SignatureCheck] = {
    "standard": _signed_envelope("webhook"),
    "recall": _signed_envelope("svix"),
    "bota": _signed_body("x-bota-signature", "sha256="),
    "efficlose": _signed_body("x-webhook-signature", "sha256="),
    "voxscriber": _signed_body("x-webhook-signature", ""),
}
