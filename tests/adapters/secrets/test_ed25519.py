"""Keys of v1a as Standard Webhooks and Svix write them."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.adapters.secrets import ed25519
from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.errors import ConfigError

#: RFC 8032, section 7.1, test 3
SEED = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def written(prefix: str, raw: bytes) -> str:
    return prefix + b64encode(raw).decode()


@pytest.mark.parametrize("raw", [SEED, SEED + PUBLIC])
def test_the_vector_of_the_rfc(raw: bytes) -> None:
    private = written("whsk_", raw)
    public = ed25519.public_of(private)
    assert public == written("whpk_", PUBLIC)
    assert ed25519.signer_of(private)(MESSAGE) == SIGNATURE
    assert ed25519.fits(public, MESSAGE, SIGNATURE)
    assert not ed25519.fits(public, MESSAGE + b"!", SIGNATURE)
    assert not ed25519.fits(public, MESSAGE, SIGNATURE[:-1])


def test_a_new_key_is_seed_and_public_key() -> None:
    private = ed25519.new_private_key()
    raw = b64decode(private.removeprefix("whsk_"))
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    assert private.startswith("whsk_") and raw[32:] == key.public_key().public_bytes_raw()
    assert ed25519.private_key_from(raw[:32]) == private != ed25519.new_private_key()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsk_",
        "whsk_not base64!",
        written("whsec_", SEED),
        written("", SEED),
        written("whsk_", SEED[:-1]),
        written("whsk_", SEED + PUBLIC[:-1]),
        written("whsk_", SEED + SEED),
        written("whsk_", SEED + PUBLIC + b"\0"),
        "whsk_ä",
    ],
)
def test_what_is_no_private_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ed25519.public_of(text)
    assert not text.removeprefix("whsk_") or text not in str(refused.value)


def test_what_is_no_public_key_is_refused() -> None:
    for text in ("", written("whpk_", PUBLIC[:-1]), written("whsk_", PUBLIC)):
        with pytest.raises(ConfigError):
            ed25519.fits(text, MESSAGE, SIGNATURE)


def test_a_sealed_key_signs_for_its_owner_alone() -> None:
    ring = AesKeyRing(generate_ring())
    sealed = ring.seal_key(written("whsk_", SEED + PUBLIC), "acme/ep_1", 5)
    assert sealed.public == written("whpk_", PUBLIC) and sealed.created_at_ms == 5
    assert b64encode(SEED).decode()[:40] not in sealed.blob
    assert ring.signer(sealed, "acme/ep_1")(MESSAGE) == SIGNATURE
    with pytest.raises(ConfigError):
        ring.signer(sealed, "acme/ep_2")
    with pytest.raises(ConfigError):
        ring.signer(ring.seal("whsec_AAAA", "acme/ep_1", 5), "acme/ep_1")
