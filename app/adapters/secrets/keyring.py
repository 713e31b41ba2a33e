"""Seal signing secrets with AES-256-GCM under a ring of keys.

A ring is text `ID:BASE64,ID:BASE64,…`: the first key encrypts, all decrypt. The owner (tenant/endpoint) is associated
data, so a sealed secret that is copied to another endpoint cannot be opened there.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.secret_file import read_or_create
from app.adapters.secrets import ed25519
from app.core.errors import ConfigError, Unavailable
from app.core.model.endpoint import SealedSecret, SigningKey
from app.profiles.contract import SignMessage

_NONCE = 12


class AesKeyRing:
    """`app.ports.secrets.KeyRing`, and `seal`."""

    def __init__(self, text: str) -> None:
        """`ConfigError` lists every entry that is not `ID:BASE64 of 32 bytes`."""
        problems: list[str] = []
        self._keys: dict[str, AESGCM] = {}
        self._derived_from = b""
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            key_id, _, encoded = entry.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
            if not key_id or len(key) != 32:
                problems.append(f"HOOKSTREAM_SECRET_KEYS: entry {number} is not ID:BASE64 of 32 bytes")
            elif key_id in self._keys:
                problems.append(f"HOOKSTREAM_SECRET_KEYS: the id {key_id} occurs twice")
            else:
                self._derived_from = key if not self._keys else self._derived_from
                self._keys[key_id] = AESGCM(key)
        if not self._keys and not problems:
            problems.append("HOOKSTREAM_SECRET_KEYS: the ring has no key")
        if problems:
            raise ConfigError(problems)
        self._first = next(iter(self._keys))

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return self._first

    def derive(self, purpose: str) -> bytes:
        """A secret of 32 bytes for another purpose, the same in every process that has the ring."""
        return hmac.new(self._derived_from, purpose.encode(), sha256).digest()

    def seal(self, secret: str, owner: str, now_ms: int) -> SealedSecret:
        """Encrypt a secret for its owner."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._keys[self._first].encrypt(nonce, secret.encode(), owner.encode())
        return SealedSecret(key_id=self._first, blob=base64.b64encode(nonce + sealed).decode(), created_at_ms=now_ms)

    def open(self, sealed: SealedSecret, owner: str) -> str:
        """Decrypt. Raises `ConfigError` when the ring lacks the key or the data was changed."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise ConfigError([f"HOOKSTREAM_SECRET_KEYS: no key {sealed.key_id}, which sealed a secret of {owner}"])
        try:
            data = base64.b64decode(sealed.blob, validate=True)
            return key.decrypt(data[:_NONCE], data[_NONCE:], owner.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise ConfigError([f"a secret of {owner} does not open with key {sealed.key_id}"]) from error

    def seal_key(self, private: str | None, owner: str, now_ms: int) -> SigningKey:
        """Encrypt a private Ed25519 key for its owner, or a new one. Raises `ConfigError` if it is none."""
        plain = private or ed25519.new_private_key()
        public = ed25519.public_of(plain)
        sealed = self.seal(plain, owner, now_ms)
        return SigningKey(key_id=sealed.key_id, blob=sealed.blob, created_at_ms=now_ms, public=public)

    def signer(self, sealed: SealedSecret, owner: str) -> SignMessage:
        """What signs with a sealed private key. Raises `ConfigError` as `open` does, and if it is no private key."""
        return ed25519.signer_of(self.open(sealed, owner))


class AesSealer:
    """`app.api.grants.Sealer`: tokens that only this installation can create and read."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hmac.new(key, b"seal", sha256).digest())

    def seal(self, plain: bytes) -> bytes:
        """Encrypt."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes | None:
        """Decrypt; None if the token was sealed with another key or changed."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (InvalidTag, ValueError):
            return None


def generate_ring() -> str:
    """The text of a ring with one new key. Its id is random, so that two rings can be joined."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def ring_in(folder: Path, *, create: bool) -> str | None:
    """The text of the ring in a data folder (`secret.keys`, mode 0600); None if it is missing and not to be created."""
    return _read_or_create(folder / "secret.keys", generate_ring if create else None)


def operator_token_in(folder: Path) -> str:
    """The operator's token in a data folder (`admin.token`, mode 0600), created if it is missing."""
    return _read_or_create(folder / "admin.token", lambda: "op_" + secrets.token_hex(24)) or ""


def _read_or_create(path: Path, make: Callable[[], str] | None) -> str | None:
    """The text of a file with mode 0600. A missing file is created with `make`; None without `make`."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        if make is None:
            return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    return read_or_create(path, make)
