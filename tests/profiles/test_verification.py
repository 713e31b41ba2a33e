"""What the check of a pasted request says, of signatures that other libraries have made."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
import standardwebhooks
import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.verification import CandidateKey, CandidateSecret, Verification, read_headers, verify

NOW_S = 1_800_000_000
BODY = b'{"type":"order.created","data":{"name":"Caf\xc3\xa9","n":1}}'
SECRET = {
    "standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "recall": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "bota": "bota_0123456789abcdef",
    "efficlose": "whsec_0123456789abcdef0123",
    "voxscriber": "c2VjcmV0LXNlY3JldC1zZWNyZXQ=",
}
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def signed(profile: str, secret: str, body: bytes, *, at_s: int = NOW_S) -> list[tuple[str, str]]:
    """Headers of a request as the product's own library or document makes them."""
    if profile in ("standard", "recall"):
        library = standardwebhooks.Webhook if profile == "standard" else svix.Webhook
        family = "webhook" if profile == "standard" else "svix"
        signature = library(secret).sign("evt_1", datetime.fromtimestamp(at_s, UTC), body.decode())
        return [(f"{family}-id", "evt_1"), (f"{family}-timestamp", str(at_s)), (f"{family}-signature", signature)]
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    header = "X-Bota-Signature" if profile == "bota" else "X-Webhook-Signature"
    return [(header, digest if profile == "voxscriber" else f"sha256={digest}")]


def check(
    profile: str,
    headers: Sequence[tuple[str, str]],
    body: bytes = BODY,
    secrets: Sequence[str] = (),
    now_s: float = NOW_S,
) -> Verification:
    named = [CandidateSecret(text, f"secret {number}") for number, text in enumerate(secrets or (SECRET[profile],), 1)]
    return verify(PROFILES[profile], named, headers, body, now_s)


def sentences(verification: Verification, level: str) -> str:
    return " ".join(each.sentence for each in verification.findings if each.level == level)


@pytest.mark.parametrize("profile", SECRET)
class TestEveryProfile:
    def test_a_request_that_fits(self, profile: str) -> None:
        assert PROFILES.keys() == SECRET.keys()
        answer = check(profile, signed(profile, SECRET[profile], BODY))
        assert answer.valid
        assert "made with secret 1" in sentences(answer, "good") and "byte for byte" in sentences(answer, "good")

    def test_names_of_headers_in_any_case(self, profile: str) -> None:
        headers = [(name.upper(), value) for name, value in signed(profile, SECRET[profile], BODY)]
        assert check(profile, headers).valid

    def test_an_earlier_secret_is_named(self, profile: str) -> None:
        answer = check(profile, signed(profile, OTHER, BODY), secrets=(SECRET[profile], OTHER))
        assert answer.valid and "secret 2" in sentences(answer, "good")

    def test_the_secret_of_another_endpoint(self, profile: str) -> None:
        answer = check(profile, signed(profile, OTHER, BODY))
        assert not answer.valid and "fits the body with secret 1" in sentences(answer, "bad")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda body: body + b"\n", "line break at its end"),
            (lambda body: json.dumps(json.loads(body)).encode(), "without spaces"),
            (lambda body: json.dumps(json.loads(body), indent=2).encode(), "without spaces"),
            (lambda body: json.dumps(json.loads(body), indent=4, ensure_ascii=False).encode(), "without spaces"),
        ],
    )
    def test_a_body_that_was_encoded_again(self, profile: str, change: object, named: str) -> None:
        assert callable(change)
        answer = check(profile, signed(profile, SECRET[profile], BODY), change(BODY))
        assert not answer.valid and named in sentences(answer, "bad") and "raw bytes" in sentences(answer, "bad")

    def test_a_body_with_other_data(self, profile: str) -> None:
        answer = check(profile, signed(profile, SECRET[profile], BODY), BODY.replace(b"1", b"2"))
        assert not answer.valid and "byte for byte" in sentences(answer, "bad")

    def test_no_headers(self, profile: str) -> None:
        answer = check(profile, [("content-type", "application/json")])
        assert not answer.valid and "missing" in sentences(answer, "bad")

    def test_headers_of_another_profile(self, profile: str) -> None:
        answer = check(profile, [("x-other-signature", "abc")])
        assert "x-other-signature" in sentences(answer, "bad")

    def test_neither_secret_nor_expected_signature_is_shown(self, profile: str) -> None:
        headers = signed(profile, SECRET[profile], BODY)
        answer = check(profile, [(name, value[:-4] + "abcd") for name, value in headers])
        shown = " ".join(each.sentence for each in answer.findings)
        assert SECRET[profile] not in shown and headers[-1][1][8:] not in shown

    @given(pairs=st.lists(st.tuples(st.text(), st.text())), body=st.binary(max_size=200), text=st.text())
    def test_anything_is_answered(self, profile: str, pairs: list[tuple[str, str]], body: bytes, text: str) -> None:
        right = dict(signed(profile, SECRET[profile], BODY))
        for name, value in pairs:
            check(profile, [(name, value)], body)
            for header in right:
                check(profile, list((right | {header: value}).items()), body)
        check(profile, read_headers(text), body)


@pytest.mark.parametrize(
    ("age_s", "sentence"), [(60, "less than 5 minutes"), (1200, "20 minutes ago"), (9000, "2 hours ago")]
)
@pytest.mark.parametrize("profile", ["standard", "recall"])
def test_the_age_is_a_warning(profile: str, age_s: int, sentence: str) -> None:
    answer = check(profile, signed(profile, SECRET[profile], BODY, at_s=NOW_S - age_s))
    assert answer.valid and sentence in sentences(answer, "good" if age_s == 60 else "warning")


def test_a_clock_that_is_wrong() -> None:
    answer = check("standard", signed("standard", SECRET["standard"], BODY, at_s=NOW_S + 4000))
    assert "67 minutes in the future" in sentences(answer, "warning")


def test_a_timestamp_in_milliseconds_or_words() -> None:
    for timestamp in ("1800000000000", "2027-01-15", "²"):
        headers = dict(signed("standard", SECRET["standard"], BODY)) | {"webhook-timestamp": timestamp}
        assert "seconds since 1970" in sentences(check("standard", list(headers.items())), "bad")


def test_a_rotation_has_two_signatures() -> None:
    name, first = signed("standard", OTHER, BODY)[-1]
    headers = dict(signed("standard", SECRET["standard"], BODY))
    headers[name] = f"{first} {headers[name]}"
    assert check("standard", list(headers.items())).valid


def test_a_secret_that_signs_no_more() -> None:
    secrets = [CandidateSecret(OTHER, "the new one"), CandidateSecret(SECRET["bota"], "the old one", False)]
    answer = verify(PROFILES["bota"], secrets, signed("bota", SECRET["bota"], BODY), BODY, NOW_S)
    assert not answer.valid and "the old one" in sentences(answer, "bad")


def test_the_secret_was_not_decoded() -> None:
    signature = hmac.digest(SECRET["standard"].encode(), b"evt_1.1800000000." + BODY, "sha256")
    headers = dict(signed("standard", SECRET["standard"], BODY)) | {
        "webhook-signature": "v1," + b64encode(signature).decode()
    }
    assert "base64-decoded" in sentences(check("standard", list(headers.items())), "bad")


def test_the_secret_was_decoded() -> None:
    digest = hmac.new(b64decode(SECRET["voxscriber"]), BODY, hashlib.sha256).hexdigest()
    answer = check("voxscriber", [("x-webhook-signature", digest)])
    assert "secret's characters" in sentences(answer, "bad")


def test_base64_where_hex_belongs_and_no_prefix() -> None:
    digest = hmac.digest(SECRET["bota"].encode(), BODY, "sha256")
    base64 = check("bota", [("x-bota-signature", "sha256=" + b64encode(digest).decode())])
    assert "is base64" in sentences(base64, "bad")
    bare = check("bota", [("x-bota-signature", digest.hex())])
    assert 'begin with "sha256="' in sentences(bare, "bad")


def test_an_endpoint_without_a_secret() -> None:
    answer = verify(PROFILES["efficlose"], [], [], BODY, NOW_S)
    assert answer.valid and "not signed" in sentences(answer, "good")


def test_a_profile_with_headers_of_its_own_cannot_be_checked() -> None:
    own: Profile = msgspec.structs.replace(PROFILES["bota"], headers=lambda *_: ())
    assert not verify(own, [], [], BODY, NOW_S).valid


def test_pasted_headers() -> None:
    lines = "POST /hooks HTTP/1.1\r\nHost: a.example\r\nwebhook-id:evt_1\r\n\r\n"
    assert read_headers(lines) == [("Host", "a.example"), ("webhook-id", "evt_1")]
    assert read_headers('{"webhook-id": "evt_1", "accept": ["a", "b"]}') == [("webhook-id", "evt_1"), ("accept", "a,b")]
    assert read_headers("[1]") == [] and read_headers("") == []
    assert len(read_headers("a: b\n" * 5000)) == 100


class TestV1a:
    """Beside v1 and alone, with Ed25519 of `cryptography` on both sides."""

    KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

    def candidate(self, name: str = "key 1", key: Ed25519PrivateKey = KEY) -> CandidateKey:
        def fits(message: bytes, signatures: Sequence[bytes]) -> bool:
            for each in signatures:
                try:
                    key.public_key().verify(each, message)
                except InvalidSignature:
                    continue
                return True
            return False

        return CandidateKey(fits, name)

    def headers(self, body: bytes = BODY, *, before: str = "") -> list[tuple[str, str]]:
        signature = self.KEY.sign(f"evt_1.{NOW_S}.".encode() + body)
        text = f"{before} v1a,{b64encode(signature).decode()}".strip()
        return [("webhook-id", "evt_1"), ("webhook-timestamp", str(NOW_S)), ("webhook-signature", text)]

    def check(self, headers: list[tuple[str, str]], body: bytes = BODY, *, v1: bool = False) -> Verification:
        secrets = [CandidateSecret(SECRET["standard"], "secret 1")] if v1 else []
        other = self.candidate("key 0", Ed25519PrivateKey.generate())
        return verify(PROFILES["standard"], secrets, headers, body, NOW_S, [other, self.candidate()])

    def test_alone(self) -> None:
        answer = self.check(self.headers())
        assert answer.valid and "made with key 1" in sentences(answer, "good")

    def test_beside_v1(self) -> None:
        hmacs = dict(signed("standard", SECRET["standard"], BODY))["webhook-signature"]
        answer = self.check(self.headers(before=hmacs), v1=True)
        assert answer.valid and "secret 1" in sentences(answer, "good") and "key 1" in sentences(answer, "good")
        wrong = self.check(self.headers(before="v1," + b64encode(bytes(32)).decode()), v1=True)
        assert not wrong.valid and "secret 1" in sentences(wrong, "bad") and "key 1" in sentences(wrong, "good")

    def test_a_request_from_before_the_scheme_was_changed(self) -> None:
        answer = self.check(signed("standard", SECRET["standard"], BODY), v1=True)
        assert answer.valid and 'begins with "v1a,"' in sentences(answer, "warning")
        assert not self.check(signed("standard", SECRET["standard"], BODY)).valid

    def test_a_changed_body_and_another_key(self) -> None:
        answer = self.check(self.headers(), json.dumps(json.loads(BODY), indent=2).encode())
        assert not answer.valid and "another form of the body" in sentences(answer, "bad")
        answer = self.check(self.headers(b"{}"))
        assert not answer.valid and "key 0 or key 1" in sentences(answer, "bad")

    def test_entries_that_are_no_base64(self) -> None:
        answer = self.check([*self.headers()[:2], ("webhook-signature", "v1a,! v1a,ä v1a, v1a,AAAA")])
        assert not answer.valid
