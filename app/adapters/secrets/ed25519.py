"""Ed25519 keys of Standard Webhooks v1a: `whsk_` (private) and `whpk_` (public) before the base64 of their bytes.

A private key has 64 bytes, the seed and the public key, as Svix writes it; the seed alone is understood, too.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.errors import ConfigError
from app.profiles.contract import SignMessage

PRIVATE, PUBLIC = "whsk_", "whpk_"
_SEED = _PUBLIC_BYTES = 32


def new_private_key() -> str:
    """A private key from the operating system's randomness."""
    return _written(Ed25519PrivateKey.generate())


def private_key_from(seed: bytes) -> str:
    """The private key of a seed of 32 bytes."""
    return _written(Ed25519PrivateKey.from_private_bytes(seed))


def public_of(private: str) -> str:
    """The public key of a private one. Raises `ConfigError`, which does not quote the key, if it is none."""
    return PUBLIC + b64encode(_read(private).public_key().public_bytes_raw()).decode()


def signer_of(private: str) -> SignMessage:
    """What signs with a private key. Raises `ConfigError` as `public_of` does."""
    return _read(private).sign


def fits(public: str, message: bytes, signature: bytes) -> bool:
    """Whether a signature was made with the private half. Raises `ConfigError` if `public` is no public key."""
    raw = _decoded(public, PUBLIC)
    if len(raw) != _PUBLIC_BYTES:
        raise ConfigError(["public key: is not whpk_ and the base64 of 32 bytes"])
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read(private: str) -> Ed25519PrivateKey:
    raw = _decoded(private, PRIVATE)
    if len(raw) not in (_SEED, _SEED + _PUBLIC_BYTES):
        raise ConfigError(["signing_key: is not whsk_ and the base64 of 64 bytes (seed and public key) or 32 (seed)"])
    key = Ed25519PrivateKey.from_private_bytes(raw[:_SEED])
    if raw[_SEED:] not in (b"", key.public_key().public_bytes_raw()):
        raise ConfigError(["signing_key: its second half is not the public key of its first"])
    return key


def _written(key: Ed25519PrivateKey) -> str:
    return PRIVATE + b64encode(key.private_bytes_raw() + key.public_key().public_bytes_raw()).decode()


def _decoded(text: str, prefix: str) -> bytes:
    """The bytes after the prefix; none when it is missing or they are not base64."""
    try:
        return b64decode(text.removeprefix(prefix), validate=True) if text.startswith(prefix) else b""
    except ValueError:
        return b""
