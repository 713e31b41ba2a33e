"""Certificates and keys are read when they are set: what cannot be used is refused with a sentence."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.adapters.http.client_certificates import read_certificate
from app.core.model.receiver_auth import MutualTls
from app.core.model.sealed_auth import BadAuth
from tests.contracts.client_certificates import setting

NOW_MS = round(datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC).timestamp() * 1000)
AUTHORITY = trustme.CA()
END = datetime.datetime(2027, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
LEAF = AUTHORITY.issue_cert("acme@x", not_after=END)


def auth(**changes: Any) -> MutualTls:
    fine = msgspec.convert(setting(LEAF, AUTHORITY), MutualTls)
    return msgspec.structs.replace(fine, **changes)


def written(key: Any, protection: Any = None) -> str:
    text: str = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption()).decode()
    return text


def test_a_chain_is_read_with_its_first_end_and_without_other_text() -> None:
    chain = auth().certificate
    read = read_certificate(auth(certificate=f"Bag Attributes\n{chain}\n{auth().private_key}"), NOW_MS)
    assert (read.certificate, read.ca) == (chain, auth().ca)
    assert read.expires_at_ms == END.timestamp() * 1000
    intermediate = AUTHORITY.create_child_ca()
    both = setting(intermediate.issue_cert("acme@x"))
    assert both["certificate"].count("BEGIN") == 2
    assert read_certificate(msgspec.convert(both, MutualTls), NOW_MS).certificate == both["certificate"]


KEY = load_pem_private_key(auth().private_key.encode(), None)


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"certificate": "nothing"}, "/certificate", "no certificate"),
        ({"certificate": auth().private_key}, "/certificate", "no certificate"),
        ({"certificate": auth().certificate.replace("M", "N", 1)}, "/certificate", "no certificate"),
        ({"certificate": auth().certificate * 11}, "/certificate", "more than 10"),
        ({"ca": "nothing"}, "/ca", "no certificate"),
        ({"private_key": "nothing"}, "/private_key", "no private key"),
        ({"private_key": auth().certificate}, "/private_key", "no private key"),
        ({"private_key": setting(AUTHORITY.issue_cert("b@x"))["private_key"]}, "/private_key", "does not belong"),
        ({"private_key": written(KEY, BestAvailableEncryption(b"p"))}, "/private_key", "encrypted"),
        ({"private_key": written(rsa.generate_private_key(65537, 1024))}, "/private_key", "2048 to 8192 bits"),
        ({"private_key": written(dsa.generate_private_key(2048))}, "/private_key", "neither"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, str], pointer: str, words: str) -> None:
    with pytest.raises(BadAuth, match=words) as caught:
        read_certificate(auth(**changes), NOW_MS)
    assert caught.value.pointer == pointer and "BEGIN" not in str(caught.value)


def test_expired_certificates_are_refused() -> None:
    later = round(END.timestamp() * 1000)
    with pytest.raises(BadAuth, match="expired at 2027-01-02T03:04:05"):
        read_certificate(auth(), later)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    old = setting(AUTHORITY.issue_cert("old@x", not_before=past, not_after=past.replace(day=2)))["certificate"]
    with pytest.raises(BadAuth, match="expired") as caught:
        read_certificate(auth(ca=old), NOW_MS)
    assert caught.value.pointer == "/ca"
    with pytest.raises(BadAuth, match="expired"):
        read_certificate(auth(certificate=auth().certificate + old), NOW_MS)


@pytest.mark.parametrize("options", [("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("ed25519",)])
def test_what_openssl_writes_is_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=acme", "-newkey", *options]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    read = read_certificate(MutualTls(certificate=certificate.read_text(), private_key=key.read_text()), NOW_MS)
    assert read.certificate.split() == certificate.read_text().split()
