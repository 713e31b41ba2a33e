"""Turns the results and exceptions of the HTTP client into values: decoded headers, failures with one sentence."""

from __future__ import annotations

import re
import ssl

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ServerDisconnectedError,
)
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from app.adapters.http.egress_guard import BlockedAddress
from app.core.model.http_exchange import NOT_SENT, HttpFailure, HttpFailureKind, HttpTiming

#: Exceptions caused by the network or the receiver. Any other one is a defect of Hookstream.
NETWORK_ERRORS = (ClientError, HttpProcessingError, OSError)
#: The same while a connection is opened; uvloop raises RuntimeError for some socket errors.
CONNECT_ERRORS = (*NETWORK_ERRORS, RuntimeError)
#: how aiohappyeyeballs quotes `BlockedAddress` among the errors of several addresses
_BLOCKED = re.compile(r"\[Errno 13\] (The address .+?\.)(?=, \[Errno |$)")


class NoAnswer(HttpProcessingError):
    """The bytes received do not begin like a response."""


class HeadTooLarge(HttpProcessingError):
    """Status line and headers are longer than `MAX_HEAD`."""


def readable(headers: CIMultiDictProxy[str]) -> tuple[tuple[str, str], ...]:
    """The headers in order; bytes that are not UTF-8 become replacement characters, so that they can be stored."""
    return tuple(
        [
            (name, value if value.isascii() else value.encode(errors="surrogateescape").decode(errors="replace"))
            for name, value in headers.items()
        ]
    )


def blocked(reason: str) -> HttpFailure:
    """The endpoint's URL is not permitted; no connection was opened."""
    return HttpFailure(kind="blocked_address", detail=reason, timing=HttpTiming())


def too_late(timeout_s: float, timing: HttpTiming, *, connecting: bool) -> HttpFailure:
    """The deadline passed before the status line arrived."""
    missing = "connection" if connecting else "answer"
    return HttpFailure(kind="timeout", detail=f"There was no {missing} within {timeout_s:g} s.", timing=timing)


def unresolved(host: str, error: BaseException, timing: HttpTiming) -> HttpFailure:
    """The endpoint's host name has no address."""
    return HttpFailure(kind="dns", detail=f"The name {host} does not resolve: {_reason(error)}.", timing=timing)


def unusable_certificate(error: OSError) -> HttpFailure:
    """The client certificate of the endpoint cannot be used by this process; no connection was opened."""
    detail = f"No request could be built: the client certificate of `auth` cannot be used: {_reason(error)}."
    return HttpFailure(kind=NOT_SENT, detail=detail, timing=HttpTiming())


def refusal(error: BaseException, timing: HttpTiming, *, connecting: bool, tls: bool) -> HttpFailure:
    """Classify an exception. `connecting`: it was raised before the request could be written."""
    kind, detail = _connecting(error, tls=tls) if connecting else _conversing(error, tls=tls)
    return HttpFailure(kind=kind, detail=detail, timing=timing)


def _connecting(error: BaseException, *, tls: bool) -> tuple[HttpFailureKind, str]:
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, BlockedAddress):
        return "blocked_address", str(cause.strerror)
    if blocked_all := _all_blocked(_reason(cause) + "."):
        return "blocked_address", blocked_all
    if isinstance(error, ClientConnectorDNSError):
        return "dns", unresolved(error.host, cause, HttpTiming()).detail
    if isinstance(error, ClientConnectorCertificateError):
        return "tls", f"The TLS certificate is not trusted: {_certificate_reason(error.certificate_error)}."
    if isinstance(cause, ssl.SSLError):
        return "tls", f"The TLS handshake failed: {_reason(cause)}."
    if isinstance(cause, ConnectionRefusedError):
        return "refused", "The receiver refused the connection (nothing listens on that port)."
    if tls and isinstance(cause, ConnectionError):
        return "tls", "The receiver closed the connection during the TLS handshake."
    return "connect", f"No connection could be opened: {_reason(cause)}."


def _all_blocked(text: str) -> str | None:
    """The guard's sentence about the first address, if it blocked every one of several addresses."""
    sentences = _BLOCKED.findall(text)
    return sentences[0] if sentences and len(sentences) == text.count("[Errno ") else None


def _conversing(error: BaseException, *, tls: bool) -> tuple[HttpFailureKind, str]:
    alert = _tls_cause(error)
    if alert is not None:  # a TLS 1.3 server verifies the client after the client's handshake is over
        if "CERTIFICATE_REQUIRED" in str(alert):
            return "tls", "The receiver demands a client certificate: set the endpoint's `auth` to mtls."
        return "tls", f"The receiver ended the TLS connection: {_reason(alert)}."
    hint = " One that demands a client certificate may do that." if tls else ""
    if isinstance(error, ServerDisconnectedError):
        return "reset", f"The receiver closed the connection before it answered.{hint}"
    if isinstance(error, OSError):
        return "reset", f"The connection broke before the receiver answered.{hint}"
    if isinstance(error, HeadTooLarge):
        return "protocol", "The receiver's answer has more than 64 KiB of headers."
    return "protocol", "The receiver's bytes are not an HTTP/1.1 answer."


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    """The TLS alert that ended a connection; None if it ended otherwise."""
    cause: BaseException | None = error
    for _ in range(4):
        if cause is None or isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return None
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).strip().rstrip(".")


def _certificate_reason(error: Exception) -> str:
    return getattr(error, "verify_message", "") or _reason(error)
