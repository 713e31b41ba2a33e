"""Ids, secrets and keys from the operating system's randomness."""

from __future__ import annotations

import secrets

from app.adapters.keyring import new_signing_secret


class RandomMinter:
    """`app.ports.Minter`."""

    def id(self, prefix: str) -> str:
        """96 random bits."""
        return f"{prefix}_{secrets.token_hex(12)}"

    def secret(self) -> str:
        """See `new_signing_secret`."""
        return new_signing_secret()

    def api_key(self, mode: str) -> str:
        """192 random bits."""
        return f"sk_{mode}_{secrets.token_hex(24)}"
