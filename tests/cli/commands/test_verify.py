"""`hookstream verify` reads a request from files or standard input and says which check fails."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.e2e.harness import HOOKSTREAM
from tests.patience import PATIENCE_S

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"user.created","data":{}}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    signature = standardwebhooks.Webhook(SECRET).sign("evt_1", now, BODY.decode())
    head = (
        f"POST /hooks HTTP/1.1\r\nWebhook-Id: evt_1\r\nWebhook-Timestamp: {int(now.timestamp())}\r\n"
        f"Webhook-Signature: {signature}"
    )
    (tmp_path / "head").write_text(head, newline="")
    (tmp_path / "body").write_bytes(BODY)
    (tmp_path / "request").write_bytes(head.encode() + b"\r\n\r\n" + BODY)
    (tmp_path / "secret").write_text(SECRET + "\n")
    return tmp_path


def run(folder: Path, *words: str, stdin: bytes = b"") -> tuple[int, str]:
    ended = subprocess.run(
        [HOOKSTREAM, "verify", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},  # the code beside these tests
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def test_a_whole_request(folder: Path) -> None:
    code, text = run(folder, "request", "--secret-file", "secret")
    assert code == 0 and "The signature is valid." in text and "made with the given secret" in text
    assert run(folder, "-", "--secret-file", "secret", stdin=(folder / "request").read_bytes())[0] == 0


def test_headers_and_body_in_two_files(folder: Path) -> None:
    code, text = run(folder, "head", "--body", "body", "--secret-file", "secret", "-o", "json")
    assert code == 0 and json.loads(text)["valid"] is True


def test_a_request_that_does_not_verify(folder: Path) -> None:
    (folder / "body").write_bytes(BODY + b"\n")
    code, text = run(folder, "head", "--body", "body", "--secret-file", "secret")
    assert code == 1 and "line break at its end" in text
    code, text = run(folder, "head", "--body", "body", "--secret-file", "secret", "-o", "json")
    assert code == 1 and json.loads(text)["valid"] is False
    code, text = run(folder, "request", "--secret-file", "secret", "--profile", "bota")
    assert code == 1 and "X-Bota-Signature is missing" in text


def test_what_cannot_be_checked_is_wrong_usage(folder: Path) -> None:
    for words in (
        ("head", "--secret-file", "secret"),
        ("request", "--secret-file", "secret", "--profile", "nobody"),
        ("none", "--secret-file", "secret"),
        ("-", "--body", "-", "--secret-file", "secret"),
    ):
        assert run(folder, *words)[0] == 2, words


def test_v1a_with_a_public_key(folder: Path) -> None:
    key, at_s = Ed25519PrivateKey.generate(), int(datetime.now(UTC).timestamp())
    signature = b64encode(key.sign(f"evt_1.{at_s}.".encode() + BODY)).decode()
    head = f"Webhook-Id: evt_1\nWebhook-Timestamp: {at_s}\nWebhook-Signature: v1,AAAA v1a,{signature}\n\n"
    (folder / "asymmetric").write_bytes(head.encode() + BODY)
    public, other = (
        f"whpk_{b64encode(each.public_key().public_bytes_raw()).decode()}"
        for each in (key, Ed25519PrivateKey.generate())
    )
    code, text = run(folder, "asymmetric", "--public-key", other, "--public-key", public)
    assert code == 0 and f"the private half of {public}" in text
    assert run(folder, "asymmetric", "--public-key", other)[0] == 1
    assert run(folder, "asymmetric", "--public-key", public, "--secret-file", "secret")[0] == 1, "v1 does not fit"
    code, text = run(folder, "asymmetric", "--public-key", "whpk_nothing")
    assert code not in (0, 1) and "32 bytes" in text
