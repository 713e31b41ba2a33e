"""Encryption of signing secrets, and generation of ids, secrets and keys."""

from __future__ import annotations

from typing import Protocol

from app.core.model.endpoint import SealedSecret, SigningKey
from app.profiles.contract import SignMessage


class KeyRing(Protocol):
    """Encrypts and decrypts signing secrets."""

    def seal(self, secret: str, owner: str, now_ms: int) -> SealedSecret:
        """Encrypt a secret for its owner."""
        ...

    def open(self, sealed: SealedSecret, owner: str) -> str:
        """The secret in plain text. Raises `ConfigError` when no key of the ring decrypts it."""
        ...

    def seal_key(self, private: str | None, owner: str, now_ms: int) -> SigningKey:
        """Encrypt a private Ed25519 key (`whsk_…`), or a new one, for its owner.

        Raises `ConfigError`, which does not quote the key, if it is none.
        """
        ...

    def signer(self, sealed: SealedSecret, owner: str) -> SignMessage:
        """What signs with a sealed private key; raises `ConfigError` as `open` does, and if it is no private key."""
        ...


class TokenGenerator(Protocol):
    """Generates values that cannot be guessed."""

    def id(self, prefix: str) -> str:
        """`<prefix>_` and 24 random characters."""
        ...

    def secret(self) -> str:
        """A signing secret."""
        ...

    def api_key(self, mode: str) -> str:
        """A key of the management API."""
        ...
