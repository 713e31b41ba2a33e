"""Certificates of tests: an authority, and what `auth` of type mtls takes."""

from __future__ import annotations

from typing import Any

import trustme

from app.core.model.http_exchange import TlsIdentity


def pems(certificate: trustme.LeafCert) -> tuple[str, str]:
    """Chain and private key."""
    chain = "".join(each.bytes().decode() for each in certificate.cert_chain_pems)
    return chain, certificate.private_key_pem.bytes().decode()


def setting(certificate: trustme.LeafCert, authority: trustme.CA | None = None) -> dict[str, Any]:
    """The setting `auth`; with `authority`, the receiver's certificate must be of it."""
    chain, key = pems(certificate)
    ca = authority.cert_pem.bytes().decode() if authority else None
    return {"type": "mtls", "certificate": chain, "private_key": key, "ca": ca}


def identity(owner: str, certificate: trustme.LeafCert, authority: trustme.CA | None = None) -> TlsIdentity:
    """What a request of an endpoint is sent with."""
    auth = setting(certificate, authority)
    return TlsIdentity.of(owner, certificate=auth["certificate"], private_key=auth["private_key"], authority=auth["ca"])
