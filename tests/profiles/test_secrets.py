"""Secrets and the schemes that sign with them: what does not go together is seen before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.model.endpoint import Endpoint, SealedSecret
from app.profiles.secrets import secret_problem

RING = AesKeyRing(generate_ring())
NOW = 1_000
BASE64 = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="


def sealed(plain: str, until_ms: int | None = None, owner: str = "acme/ep") -> SealedSecret:
    made = RING.seal(plain, owner, 0)
    return SealedSecret(key_id=made.key_id, blob=made.blob, created_at_ms=0, expires_at_ms=until_ms)


def problem(profile: str, *secrets: SealedSecret, signature: str | None = None) -> str | None:
    endpoint = Endpoint(
        id="ep",
        tenant="acme",
        mode="live",
        url="https://a.example/",
        events=("*",),
        profile=profile,
        secrets=secrets,
        signature=signature,
    )
    return secret_problem(endpoint, RING.open, NOW)


@pytest.mark.parametrize(
    ("profile", "signature", "secrets"),
    [
        ("standard", None, [BASE64]),
        ("bota", None, ["any text"]),
        ("bota", "standard", [BASE64]),
        ("efficlose", None, []),
        ("standard", "bota", ["any text"]),
        ("nobody knows it", None, ["any text"]),
    ],
)
def test_compatible_secrets_and_schemes(profile: str, signature: str | None, secrets: list[str]) -> None:
    assert problem(profile, *map(sealed, secrets), signature=signature) is None


@pytest.mark.parametrize(
    ("profile", "signature", "secrets", "word"),
    [
        ("bota", "standard", ["any text!"], "base64"),
        ("standard", None, [BASE64, "no base64!"], "base64"),
        ("standard", None, [], "always signs"),
        ("efficlose", "standard", [], "always signs"),
    ],
)
def test_incompatible_secrets_and_schemes(profile: str, signature: str | None, secrets: list[str], word: str) -> None:
    found: Any = problem(profile, *map(sealed, secrets), signature=signature)
    assert found.startswith("signature: ") and word in found and "any text" not in found


def test_only_secrets_that_still_sign_count() -> None:
    assert problem("standard", sealed(BASE64), sealed("no base64!", until_ms=NOW)) is None
    assert problem("standard", sealed(BASE64, until_ms=NOW)) is not None


def test_a_secret_that_no_key_opens_is_a_configuration_error() -> None:
    assert problem("standard", sealed(BASE64, owner="somebody/else")) is None
