"""Ids, secrets and keys from the operating system's randomness."""

from __future__ import annotations

import base64
import secrets


class RandomTokens:
    """`app.ports.secrets.TokenGenerator`."""

    def id(self, prefix: str) -> str:
        """96 random bits."""
        return f"{prefix}_{secrets.token_hex(12)}"

    def secret(self) -> str:
        """See `new_signing_secret`."""
        return new_signing_secret()

    def api_key(self, mode: str) -> str:
        """192 random bits."""
        return f"sk_{mode}_{secrets.token_hex(24)}"


def new_signing_secret() -> str:
    """A secret for an endpoint: `whsec_` and the base64 of 32 random bytes (Standard Webhooks 1.0)."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
