"""One HTTP exchange as values: the request, and its outcome.

A receiver's failure is a value, not an exception: `HttpReply` when a status line arrived, `HttpFailure` otherwise.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import json

from app.core.model.receiver_auth import OAuthClientCredentials

HttpFailureKind = Literal[
    "timeout",  # no status line within the deadline
    "refused",  # the peer refused the connection
    "reset",  # the connection broke before a complete answer
    "tls",  # handshake or certificate
    "dns",  # the name does not resolve
    "connect",  # any other failure to connect (unreachable, no route)
    "blocked_address",  # the egress guard refused the address, scheme or port
    "protocol",  # the peer's bytes are not an HTTP response
    "token",  # the endpoint's token server gave no access token, so nothing was sent to the receiver
    "not_sent",  # no request could be built: no usable secret, or a header that cannot be written
]
#: does not count against the endpoint's health, because the receiver is not at fault
NOT_SENT: HttpFailureKind = "not_sent"


class TokenGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token for an endpoint is fetched with; `auth` has its secret in plain text."""

    #: the endpoint's id: tokens are never shared between endpoints
    owner: str
    auth: OAuthClientCredentials

    def __repr__(self) -> str:
        return f"TokenGrant({self.owner!r})"


class TlsIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A TLS client certificate with its private key, all in PEM."""

    #: identifies the whole: endpoint, certificate, key and authority
    key: str
    certificate: str
    private_key: str
    #: authorities of the receiver's certificate; None: those of the service
    authority: str | None

    @classmethod
    def of(cls, owner: str, *, certificate: str, private_key: str, authority: str | None) -> TlsIdentity:
        """The identity of one endpoint."""
        text = json.encode([owner, certificate, private_key, authority])
        return cls(key=sha256(text).hexdigest(), certificate=certificate, private_key=private_key, authority=authority)

    def __repr__(self) -> str:
        return f"TlsIdentity({self.key[:8]!r})"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, exactly as it is sent."""

    url: str
    #: in order, without host and content-length, which the sender adds; names and values hold no CR or LF
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: seconds for the whole exchange: resolve, connect, handshake, send, receive
    timeout_s: float
    #: OPTIONS: a handshake
    method: Literal["POST", "OPTIONS"] = "POST"
    #: what it is sent with beside its headers; None: nothing
    credential: TokenGrant | TlsIdentity | None = None


class HttpTiming(msgspec.Struct, frozen=True, kw_only=True):
    """The durations of an exchange's phases, in milliseconds; 0 for a phase that did not take place."""

    #: resolve, connect and TLS handshake together
    connect_ms: float = 0.0
    #: from the request's last byte to the response's status line
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    #: whether the connection was reused
    reused: bool = False


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A response with any status; the verdict decides whether it is a success."""

    status: int
    headers: tuple[tuple[str, str], ...]
    #: at most the sender's cap (64 KiB)
    body: bytes
    #: the body was longer than the cap, or its rest could not be read; the connection was closed
    truncated: bool
    timing: HttpTiming
    #: sentences about unusual properties of the response, without quotations of it
    remarks: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """The first header of a name in lower case; None if there is none."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class HttpFailure(msgspec.Struct, frozen=True, kw_only=True):
    """No status line arrived, for the reason `kind`."""

    kind: HttpFailureKind
    #: one sentence for the endpoint's owner
    detail: str
    timing: HttpTiming


HttpOutcome = HttpReply | HttpFailure
