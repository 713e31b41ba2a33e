"""One HTTP exchange as values: the request as it will be sent, and what came of it.

A receiver's failure is data, not an exception: `Reply` when a status line arrived, `Refusal` otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

HttpFailureKind = Literal[
    "timeout",  # no status line within the deadline
    "refused",  # the peer refused the connection
    "reset",  # the connection broke before a complete answer
    "tls",  # handshake or certificate
    "dns",  # the name does not resolve
    "connect",  # any other reason why no connection came about (unreachable, no route)
    "blocked_address",  # our egress guard refused the address, scheme or port
    "protocol",  # the peer's bytes are not an HTTP answer
    "not_sent",  # no request could be built: no usable secret, or a header that cannot be written
]
#: says nothing about the receiver: it does not count against the endpoint's health
NOT_SENT: HttpFailureKind = "not_sent"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request of one attempt, exactly as it goes out (method is always POST)."""

    url: str
    #: in order, without host and content-length, which the sender adds; names and values hold no CR or LF
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: seconds for the whole exchange: resolve, connect, handshake, write, answer
    timeout_s: float


class HttpTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of an exchange went, in milliseconds; 0 for a phase that did not take place."""

    #: resolve, connect and TLS handshake together
    connect_ms: float = 0.0
    #: from the request's last byte to the answer's status line
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    reused: bool = False


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A status line arrived. Says nothing about success: that is the verdict's business."""

    status: int
    headers: tuple[tuple[str, str], ...]
    #: at most the sender's cap (64 KiB)
    body: bytes
    #: more than the cap was there, or the rest could not be read; the connection was closed
    truncated: bool
    timing: HttpTiming
    #: what is odd about the answer, in sentences that quote nothing of it
    remarks: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class HttpFailure(msgspec.Struct, frozen=True, kw_only=True):
    """No status line arrived."""

    kind: HttpFailureKind
    #: one sentence for the person who owns the endpoint
    detail: str
    timing: HttpTiming


HttpOutcome = HttpReply | HttpFailure
