"""Grants that this service signs for itself: sessions of the dashboard and links to the portal.

They are not stored, so any number of links takes no memory. They end by their time, with the key that they were
made with, or with the sealing key. They are sealed: their holder cannot read which key it was made with.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256
from typing import Literal, Protocol

import msgspec

from app.core.model.event import Mode
from app.core.model.tenant import KeyScope


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The holder of a session or of a portal link."""

    kind: Literal["operator", "key", "portal"]
    #: random, so that it cannot be guessed
    id: str
    expires_at_ms: int
    #: empty: the operator, who may choose
    tenant: str = ""
    mode: Mode = "live"
    scopes: tuple[KeyScope, ...] = ()
    #: the key it was made with; without it the grant is void. Empty: the operator's token
    key_id: str = ""
    #: portal: where its page leads back to
    return_url: str = ""


_grant = msgspec.json.Decoder(Grant)


class Sealer(Protocol):
    """Encrypts data that only this service may read."""

    def seal(self, plain: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes | None: ...


class GrantSigner:
    """Signs and reads grants. Times are arguments."""

    def __init__(self, key: bytes, sealer: Sealer) -> None:
        """`key` and the sealer's key are secret, and the same in every process."""
        self._key = key
        self._sealer = sealer

    def sign(self, grant: Grant) -> str:
        """The grant as text for a cookie or a path."""
        return _text(self._sealer.seal(msgspec.json.encode(grant)))

    def read(self, text: str, now_ms: int) -> Grant | None:
        """The grant of a text; None if it is invalid, was changed or has expired."""
        payload = self._sealer.open(_bytes(text))
        if payload is None:
            return None
        try:
            grant = _grant.decode(payload)
        except msgspec.DecodeError:
            return None
        return grant if grant.expires_at_ms > now_ms else None

    def proof(self, purpose: str, subject: str) -> str:
        """A MAC over a purpose and a subject, for the hidden field of a form."""
        return _text(self._mac(purpose, subject.encode()))

    def proves(self, purpose: str, subject: str, given: str) -> bool:
        """Whether `given` is the `proof` of the purpose and the subject."""
        return hmac.compare_digest(self.proof(purpose, subject).encode(), given.encode("utf-8", "replace"))

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        return hmac.new(self._key, purpose.encode() + b"\0" + payload, sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
