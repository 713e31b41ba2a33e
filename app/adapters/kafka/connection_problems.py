"""Why a connection to a broker failed, in a sentence that names the setting to change.

aiokafka logs the errors of its connections and raises "Unable to bootstrap" in their place. Each connection therefore
explains its failure here, and the caller that waits for it reads the sentence: see `explanations`.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Literal, NamedTuple

from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from app.adapters.clock import SystemClock
from app.adapters.kafka.tokens import TokenUnavailable, moment

#: seconds in which a listener must answer a probe
_PROBE_S = 2.0
#: ApiVersions, version 0, correlation id 1, no client id
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_LONGEST_ANSWER = 1_000_000
_VERIFY_EARLY, _VERIFY_EXPIRED = 9, 10
_VERIFY_UNKNOWN = (2, 18, 19, 20, 21)
_VERIFY_NAME = (62, 64)

_PASSWORD = "HOOKSTREAM_KAFKA_USERNAME and HOOKSTREAM_KAFKA_PASSWORD"
#: mechanism → settings of a refused token
_CREDENTIALS: Mapping[str | None, str] = {
    "OAUTHBEARER": (
        "that issuer, audience and signature are those of the brokers' sasl.oauthbearer.expected.issuer, "
        ".expected.audience and .jwks.endpoint.url; the brokers' log has the reason"
    ),
    "AWS_MSK_IAM": "HOOKSTREAM_KAFKA_AWS_REGION, the AWS credentials and their right kafka-cluster:Connect",
}

Explanations = deque[str]
_current: ContextVar[Explanations | None] = ContextVar("kafka_explanations", default=None)


class ConnectionAttempt(NamedTuple):
    """A connection that failed, and how it wanted to speak."""

    place: str
    #: as in `KafkaConnection`
    security: str
    mechanism: str | None
    user: str | None
    #: whether the client has a certificate
    certified: bool


@contextmanager
def explanations() -> Iterator[Explanations]:
    """Collects the last explanation of the connections that the body, or a task that it starts, opens."""
    collected: Explanations = deque(maxlen=1)
    token = _current.set(collected)
    try:
        yield collected
    finally:
        _current.reset(token)


def note(explanation: str) -> None:
    """Give an explanation to the `explanations` in whose body this runs, if any."""
    collected = _current.get()
    if collected is not None:
        collected.append(explanation)


async def explain(attempt: ConnectionAttempt, error: BaseException) -> str | None:
    """The sentence for an error of a new connection; None when the error speaks for itself, as "refused" does.

    Connects once or twice more, for up to 2 s each, when only the listener can show the reason.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in (_VERIFY_EARLY, _VERIFY_EXPIRED):
            return await _dates_sentence(attempt, cause.verify_code)
        sentence = _tls_sentence(attempt, cause) or _sasl_sentence(attempt, cause)
        if sentence:
            return sentence
    if isinstance(error, ConnectionRefusedError | TimeoutError) or not _broke_off(error):
        return None
    host, _, port = attempt.place.rpartition(":")
    kind = await listener_kind(host, int(port))
    encrypted = attempt.security in ("ssl", "sasl_ssl")
    if kind == "plaintext" and encrypted:
        return (
            f"The listener {attempt.place} does not use TLS, but HOOKSTREAM_KAFKA_SECURITY is {attempt.security}: "
            f"use the cluster's TLS listener, or set {'sasl_plaintext' if attempt.mechanism else 'plaintext'}"
        )
    if kind == "tls" and not encrypted:
        return (
            f"The listener {attempt.place} uses TLS, but HOOKSTREAM_KAFKA_SECURITY is {attempt.security}: "
            f"set {'sasl_ssl' if attempt.mechanism else 'ssl or sasl_ssl'}"
        )
    return None


def closed_at_first_request(attempt: ConnectionAttempt) -> str:
    """The sentence for a broker that agreed on versions and then closed the connection, without SASL."""
    return (
        f"Kafka closed the connection to {attempt.place} at the first request: its listener probably requires SASL, "
        f"but HOOKSTREAM_KAFKA_SECURITY is {attempt.security}: set sasl_{attempt.security}".replace(
            "_plaintext", "_ssl"
        )
    )


async def listener_kind(host: str, port: int) -> Literal["plaintext", "tls"] | None:
    """The protocol of a listener; None if it answers to neither within 4 s."""
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(_PROBE_S):
            if await _answers_in_plaintext(host, port):
                return "plaintext"
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(_PROBE_S):
            if await _answers_in_tls(host, port):
                return "tls"
    return None


async def _answers_in_plaintext(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_API_VERSIONS)
        size, correlation = struct.unpack(">ii", await reader.readexactly(8))
        return bool(correlation == 1 and 0 < size < _LONGEST_ANSWER)
    finally:
        writer.close()


async def _answers_in_tls(host: str, port: int) -> bool:
    try:
        await _certificate(host, port)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    return True


async def _certificate(host: str, port: int) -> bytes | None:
    """The listener's certificate (DER), which is not verified."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE  # it only asks for protocol and certificate, and sends nothing
    _, writer = await asyncio.open_connection(host, port, ssl=anyone)
    try:
        certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return certificate


async def _dates_sentence(attempt: ConnectionAttempt, verify_code: int) -> str:
    host, _, port = attempt.place.rpartition(":")
    validity = None
    with suppress(OSError, EOFError, TimeoutError, ValueError):
        async with asyncio.timeout(_PROBE_S):
            validity = _validity(await _certificate(host, int(port)))
    start = f"The certificate of {attempt.place}"
    if verify_code == _VERIFY_EARLY:
        begin = moment(validity[0]) if validity else "a later date"
        return f"{start} is valid from {begin} on: check the clocks of this machine and of the certificate's issuer"
    clock = "or correct the clock of this machine if that is wrong"
    if validity is None:
        return f"{start} has expired: renew it on the broker, {clock}"
    if validity[1] * 1000 < SystemClock().now_ms():
        return f"{start} expired on {moment(validity[1])}: renew it on the broker, {clock}"
    return f"{start} has an authority that has expired: renew its certificate in HOOKSTREAM_KAFKA_CA_FILE, {clock}"


def _validity(certificate: bytes | None) -> tuple[float, float] | None:
    """Begin and end, in seconds since 1970."""
    from cryptography import x509  # only this failure needs it

    if certificate is None:
        return None
    decoded = x509.load_der_x509_certificate(certificate)
    return decoded.not_valid_before_utc.timestamp(), decoded.not_valid_after_utc.timestamp()


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(5):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _broke_off(error: BaseException) -> bool:
    return any(isinstance(cause, EOFError | ConnectionError | ssl.SSLError) for cause in _causes(error))


def _tls_sentence(attempt: ConnectionAttempt, error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {attempt.place} " + _misfit(error)
    alert = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    if "ALERT" not in alert or not any(word in alert for word in ("CERT", "UNKNOWN_CA", "HANDSHAKE_FAILURE")):
        return None
    if attempt.certified:
        return (
            f"The listener {attempt.place} refuses the certificate of the client ({alert}): "
            "check HOOKSTREAM_KAFKA_CERT_FILE"
        )
    return (
        f"The listener {attempt.place} demands a certificate of the client ({alert}): "
        "set HOOKSTREAM_KAFKA_CERT_FILE and HOOKSTREAM_KAFKA_KEY_FILE"
    )


def _misfit(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _VERIFY_NAME:
        return (
            f"is for another name ({error.verify_message}): use a name of the certificate in "
            "HOOKSTREAM_BOOTSTRAP_SERVERS and in the brokers' advertised.listeners"
        )
    if error.verify_code in _VERIFY_UNKNOWN:
        return (
            f"is signed by an unknown authority ({error.verify_message}): set HOOKSTREAM_KAFKA_CA_FILE to the "
            "certificate of the cluster's authority"
        )
    return f"is not accepted: {error.verify_message}"


def _sasl_sentence(attempt: ConnectionAttempt, error: BaseException) -> str | None:
    match error:
        case SaslAuthenticationFailed():
            detail = str(error.args[0]) if error.args else "no reason given"
            user = f"user {attempt.user}" if attempt.user else "the token"
            return (
                f"SASL authentication failed for {user} at {attempt.place} ({attempt.mechanism}; Kafka: {detail}): "
                f"check {_CREDENTIALS.get(attempt.mechanism, _PASSWORD)}"
            )
        case TokenUnavailable():
            return str(error)
        case UnsupportedSaslMechanismError():
            return (
                f"The listener {attempt.place} does not offer HOOKSTREAM_KAFKA_SASL_MECHANISM={attempt.mechanism}: "
                "set one of the brokers' sasl.enabled.mechanisms"
            )
        case IllegalSaslStateError():
            return (
                f"The listener {attempt.place} does not use SASL, but HOOKSTREAM_KAFKA_SECURITY is {attempt.security}: "
                f"set {'ssl' if attempt.security == 'sasl_ssl' else 'plaintext'}"
            )
        case _:
            return None
