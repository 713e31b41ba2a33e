"""The token of an unsubscribe link: a tenant, and an address that our own key ring has sealed for it."""

from __future__ import annotations

import base64

import msgspec

from app.core.errors import Defect
from app.core.model import SealedSecret

_token = msgspec.json.Decoder(tuple[str, str, str])
_LONGEST = 2048
#: where the link leads, on the API
PATH = "/unsubscribe"


def owner(tenant: str) -> str:
    """What the address is sealed for."""
    return f"unsubscribe/{tenant}"


def token(tenant: str, sealed: SealedSecret) -> str:
    """Characters that a URL may have."""
    text = msgspec.json.encode((tenant, sealed.key_id, sealed.blob))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read(text: str) -> tuple[str, SealedSecret]:
    """The tenant and the sealed address of a token; `Defect` when it is none."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        tenant, key_id, blob = _token.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError) as error:
        raise Defect(f"that is no link of ours: {error}") from error
    return tenant, SealedSecret(key_id=key_id, blob=blob, created_at_ms=0)
