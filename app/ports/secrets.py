"""Sealing signing secrets, and making tokens."""

from __future__ import annotations

from typing import Protocol

from app.core.model.endpoint import SealedSecret


class KeyRing(Protocol):
    """Seal and open signing secrets."""

    def seal(self, secret: str, owner: str, now_ms: int) -> SealedSecret:
        """Encrypt a secret for its owner."""
        ...

    def open(self, sealed: SealedSecret, owner: str) -> str:
        """The secret as the customer knows it; raises `ConfigError` when no key of the ring opens it."""
        ...


class TokenGenerator(Protocol):
    """Make what nobody can guess."""

    def id(self, prefix: str) -> str:
        """`<prefix>_` and 24 random characters."""
        ...

    def secret(self) -> str:
        """A signing secret."""
        ...

    def api_key(self, mode: str) -> str:
        """A key of the management API."""
        ...
