"""Requests for the code that receivers verify with, signed by third-party libraries, and the right answers."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.profiles.contract import Profile
from app.profiles.signatures import HexSignature, ListedSignatures

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
_BODY = '{"id":"evt_1", "data":{"text":"für 3 €"}}'
Headers = dict[str, str]


class SignedRequest(NamedTuple):
    """A request, and whether it verifies with `secret`."""

    case: str
    genuine: bool
    headers: Headers
    body: bytes = _BODY.encode()
    secret: str = _SECRET

    def line(self) -> str:
        """As the programs in verify/ read it: base64 of secret, body and values, separated by tabs."""
        values = (part for name, value in self.headers.items() for part in (name, _base64(value.encode())))
        return "\t".join([_base64(self.secret.encode()), _base64(self.body), *values]) + "\n"


def requests_of(profile: Profile) -> list[SignedRequest]:
    """Requests as `profile` signs them, and as others do."""
    match profile.headers:
        case ListedSignatures(family=family):
            return list(_listed(family))
        case HexSignature(header=header, prefix=prefix):
            return list(_hex(header.lower(), prefix))
    raise AssertionError(f"{profile.name} has a signature of its own kind")


def _listed(family: str) -> Iterator[SignedRequest]:
    right = _signed(family)
    id_name, timestamp_name, signature_name = right
    yield SignedRequest("right", True, right)
    yield SignedRequest("a secret without its prefix", True, right, secret=_SECRET.removeprefix("whsec_"))
    mine, other = right[signature_name], _signed(family, secret=_OTHER)[signature_name]
    for case, genuine, text in (
        ("the first of two signatures", True, f"{mine} {other}"),
        ("the second of two signatures", True, f"{other} {mine}"),
        ("the second beside an unknown version", True, f"v1a,{mine[3:]} {mine}"),
        ("two signatures of others", False, f"{other} {other}"),
        ("an unknown version", False, f"v2,{mine[3:]}"),
        ("a signature without its version", False, mine[3:]),
        ("the beginning of a signature", False, mine[:-1]),
        ("an empty signature", False, ""),
        ("a signature outside ASCII", False, "v1,ä"),
    ):
        yield SignedRequest(case, genuine, right | {signature_name: text})
    yield SignedRequest("another body", False, right, body=_BODY.replace(", ", ",").encode())
    yield SignedRequest("another secret", False, right, secret=_OTHER)
    yield SignedRequest("another id", False, right | {id_name: "evt_2"})
    yield SignedRequest("another time", False, right | {timestamp_name: str(int(right[timestamp_name]) + 1)})
    for case, genuine, age_s in (
        ("200 s old", True, 200),
        ("400 s old", False, 400),
        ("from in 400 s", False, -400),
    ):
        yield SignedRequest(case, genuine, _signed(family, age_s=age_s))
    for name in right:
        yield SignedRequest(f"without {name}", False, {other: right[other] for other in right if other != name})
    for text in ("", "soon", "²", "-1", "1" * 5000, f" {right[timestamp_name]}", right[timestamp_name] + ".0"):
        yield SignedRequest(f"the time {text[:9]!r}", False, right | {timestamp_name: text})
    yield SignedRequest("without headers", False, {})
    signed = f"{right[id_name]}.{right[timestamp_name]}.{_BODY}".encode()
    empty = "v1," + _base64(hmac.digest(b"", signed, hashlib.sha256))
    yield SignedRequest("an empty secret", False, right | {signature_name: empty}, secret="whsec_")


def v1a_requests_of(profile: Profile) -> list[SignedRequest]:
    """Requests as `profile` signs them with Ed25519, and as others do; `secret` is the public keys."""
    assert isinstance(profile.headers, ListedSignatures)
    return list(_v1a(profile.headers.family))


def _v1a(family: str) -> Iterator[SignedRequest]:
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public, foreign = (f"whpk_{_base64(each.public_key().public_bytes_raw())}" for each in (key, stranger))
    right, theirs = _signed_v1a(family, key), _signed_v1a(family, stranger)
    id_name, timestamp_name, signature_name = right
    mine, other = right[signature_name], theirs[signature_name]
    hmac_of_it = _signed(family)[signature_name]
    yield SignedRequest("right", True, right, secret=public)
    yield SignedRequest("the second of two public keys", True, right, secret=f"{foreign} {public}")
    for case, genuine, text in (
        ("the second of two signatures", True, f"{other} {mine}"),
        ("beside v1", True, f"{hmac_of_it} {mine}"),
        ("v1 alone", False, hmac_of_it),
        ("the signature under v1", False, f"v1,{mine[4:]}"),
        ("a signature without its version", False, mine[4:]),
        ("the beginning of a signature", False, mine[:-4]),
        ("an empty signature", False, "v1a,"),
        ("no signature", False, ""),
        ("a signature outside ASCII", False, "v1a,ä"),
        ("a signature of another", False, other),
    ):
        yield SignedRequest(case, genuine, right | {signature_name: text}, secret=public)
    yield SignedRequest("another body", False, right, body=_BODY.replace(", ", ",").encode(), secret=public)
    yield SignedRequest("another id", False, right | {id_name: "evt_2"}, secret=public)
    later = str(int(right[timestamp_name]) + 1)
    yield SignedRequest("another time", False, right | {timestamp_name: later}, secret=public)
    for case, genuine, age_s in (("200 s old", True, 200), ("400 s old", False, 400), ("from in 400 s", False, -400)):
        yield SignedRequest(case, genuine, _signed_v1a(family, key, age_s=age_s), secret=public)
    for name in right:
        left = {each: right[each] for each in right if each != name}
        yield SignedRequest(f"without {name}", False, left, secret=public)
    for text in ("", "soon", "²", "-1", "1" * 5000):
        yield SignedRequest(f"the time {text[:9]!r}", False, right | {timestamp_name: text}, secret=public)
    yield SignedRequest("without headers", False, {}, secret=public)
    yield SignedRequest("without public keys", False, right, secret="")


def _signed_v1a(family: str, key: Ed25519PrivateKey, *, age_s: int = 0) -> Headers:
    at_s, event_id = int(time.time()) - age_s, "evt_1"
    signature = key.sign(f"{event_id}.{at_s}.{_BODY}".encode())
    return {
        f"{family}-id": event_id,
        f"{family}-timestamp": str(at_s),
        f"{family}-signature": f"v1a,{_base64(signature)}",
    }


def _signed(family: str, *, secret: str = _SECRET, age_s: int = 0) -> Headers:
    at_s, event_id = int(time.time()) - age_s, "evt_1"
    signer = svix.Webhook(secret) if family == "svix" else standardwebhooks.Webhook(secret)
    signature = signer.sign(event_id, datetime.fromtimestamp(at_s, UTC), _BODY)
    return {f"{family}-id": event_id, f"{family}-timestamp": str(at_s), f"{family}-signature": signature}


def _hex(header: str, prefix: str) -> Iterator[SignedRequest]:
    digits = hmac.new(_SECRET.encode(), _BODY.encode(), hashlib.sha256).hexdigest()
    other = hmac.new(_OTHER.encode(), _BODY.encode(), hashlib.sha256).hexdigest()
    right = {header: prefix + digits}
    yield SignedRequest("right", True, right)
    for case, key, body in (
        ("bytes", "s", b"\xff\x00\r\n"),
        ("an empty body", "s", b""),
        ("a secret", "schlüssel", b"{}"),
    ):
        signature = prefix + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        yield SignedRequest(case, True, {header: signature}, body, key)
    yield SignedRequest("another body", False, right, body=_BODY.replace(", ", ",").encode())
    yield SignedRequest("another secret", False, right, secret=_OTHER)
    yield SignedRequest("without headers", False, {})
    for case, text in (
        ("another prefix", f"sha512={digits}"),
        ("with or without the prefix", digits if prefix else f"sha256={digits}"),
        ("an empty signature", ""),
        ("the beginning of a signature", prefix + digits[:-1]),
        ("a signature outside ASCII", prefix + "ä" * 64),
        ("two signatures", f"{prefix}{other} {prefix}{digits}"),
    ):
        yield SignedRequest(case, False, {header: text})
    empty = prefix + hmac.new(b"", _BODY.encode(), hashlib.sha256).hexdigest()
    yield SignedRequest("an empty secret", False, {header: empty}, secret="")


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
