"""Reads the certificate and private key of an endpoint's `auth` when they are set, before they are sealed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from app.adapters.http.client_identities import client_context
from app.core.model.http_exchange import TlsIdentity
from app.core.model.receiver_auth import MutualTls
from app.core.model.sealed_auth import BadAuth, ReadCertificate
from app.core.model.timestamps import iso

#: certificates of a chain, and authorities
_MOST = 10
_LEAST_RSA_BITS = 2048
_LARGEST_RSA_BITS = 8192
_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


def read_certificate(auth: MutualTls, now_ms: int) -> ReadCertificate:
    """The certificates in canonical PEM, without other text, as they are stored. `auth` has its key in plain text.

    Raises `BadAuth` if something cannot be read, the key does not fit, or a certificate has expired.
    """
    chain = _certificates(auth.certificate, "/certificate")
    authorities = _certificates(auth.ca, "/ca") if auth.ca is not None else []
    key = _key(auth.private_key)
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*spki) != key.public_key().public_bytes(*spki):
        raise BadAuth("/private_key", "does not belong to the first certificate")
    for each, pointer in [*((each, "/certificate") for each in chain), *((each, "/ca") for each in authorities)]:
        if each.not_valid_after_utc <= datetime.fromtimestamp(now_ms / 1000, UTC):
            raise BadAuth(pointer, f"has expired at {iso(_ms(each))}")
    result = ReadCertificate(
        certificate=_pem(chain),
        ca=_pem(authorities) if authorities else None,
        expires_at_ms=min(_ms(each) for each in chain),
    )
    try:
        client_context(
            TlsIdentity.of("", certificate=result.certificate, private_key=auth.private_key, authority=result.ca)
        )
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "unknown reason"
        raise BadAuth("/certificate", f"cannot be used for TLS: {reason}") from error
    return result


def _certificates(text: str, pointer: str) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
        for each in chain:
            each.public_key()
            each.extensions  # noqa: B018 # they are parsed on demand
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadAuth(pointer, "is no certificate in PEM") from error
    if len(chain) > _MOST:
        raise BadAuth(pointer, f"has more than {_MOST} certificates")
    return chain


def _key(text: str) -> _PrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError as error:
        raise BadAuth("/private_key", "is encrypted: send it without a password, it is sealed here") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadAuth("/private_key", "is no private key in PEM") from error
    if isinstance(key, rsa.RSAPrivateKey):
        if not _LEAST_RSA_BITS <= key.key_size <= _LARGEST_RSA_BITS:
            raise BadAuth("/private_key", f"an RSA key has {_LEAST_RSA_BITS} to {_LARGEST_RSA_BITS} bits")
        return key
    if isinstance(key, _PrivateKey):
        return key
    raise BadAuth("/private_key", "is neither an RSA, nor an EC, nor an Ed25519 key")


def _pem(certificates: list[x509.Certificate]) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def _ms(certificate: x509.Certificate) -> int:
    return round(certificate.not_valid_after_utc.timestamp() * 1000)
