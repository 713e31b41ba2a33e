"""The documents' examples, byte for byte, and their signatures, which were made and are checked without our code.

A golden file holds an event, its `data` as the producer wrote it, the secrets (newest first) and what must come out:
`body` and `headers`. `document` is the product's own example as printed (Recall's with values for the types it names).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import standardwebhooks
import svix

from app.profiles.catalog import PROFILES, get
from app.profiles.contract import EventView
from tests.receivers.launch import Oracle, oracle

GOLDEN = Path(__file__).parents[1] / "golden"


class _NamedEvent(msgspec.Struct):
    id: str
    type: str
    created_at: str


class Golden(msgspec.Struct):
    event: _NamedEvent
    data: str
    secrets: list[str]
    at_s: int
    body: str
    headers: list[tuple[str, str]]
    document: list[str] | None = None

    @property
    def view(self) -> EventView:
        return EventView(self.event.id, self.event.type, self.event.created_at, self.data.encode())


FILES = [path for name in PROFILES for path in sorted((GOLDEN / name).glob("*.json"))]
each_golden = pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}-{path.stem}" for path in FILES])


def read(path: Path) -> tuple[str, Golden]:
    return path.parent.name, msgspec.json.decode(path.read_bytes(), type=Golden)


@pytest.fixture(scope="module")
def signer() -> Iterator[Oracle]:
    with oracle("hmac.js") as running:
        yield running


def test_no_document_is_missing() -> None:
    found = {name: sum(path.parent.name == name for path in FILES) for name in PROFILES}
    assert found == {"standard": 2, "bota": 11, "efficlose": 5, "recall": 2, "voxscriber": 2}


@each_golden
def test_envelope_and_headers(path: Path) -> None:
    name, golden = read(path)
    profile = get(name)
    body = profile.envelope(golden.view)
    keys = [profile.key(secret) for secret in golden.secrets]
    assert body == golden.body.encode()
    assert profile.headers(body, keys, golden.event.id, golden.at_s) == tuple(golden.headers)


@each_golden
def test_the_body_has_the_documented_fields_in_their_order(path: Path) -> None:
    _, golden = read(path)
    said = json.loads("\n".join(golden.document or [golden.body]), object_pairs_hook=list)
    assert json.loads(golden.body, object_pairs_hook=list) == said


def test_the_documented_examples_are_there() -> None:
    documented = [path for path in FILES if read(path)[1].document]
    assert len(documented) == 11 + 4 + 2


@each_golden
def test_signatures_are_those_of_another_implementation(signer: Oracle, path: Path) -> None:
    name, golden = read(path)
    if name in ("standard", "recall"):
        keys = [b64decode(secret.removeprefix("whsec_")) for secret in golden.secrets]
        message = f"{golden.event.id}.{golden.at_s}.{golden.body}".encode()
    else:
        keys, message = [golden.secrets[0].encode()], golden.body.encode()
    signed = signer.ask([{"key": key.hex(), "message": b64encode(message).decode()} for key in keys])
    hexes = [signature.decode() for signature in signed]
    expected = {
        "standard": " ".join("v1," + b64encode(bytes.fromhex(each)).decode() for each in hexes),
        "recall": " ".join("v1," + b64encode(bytes.fromhex(each)).decode() for each in hexes),
        "bota": f"sha256={hexes[0]}",
        "efficlose": f"sha256={hexes[0]}",
        "voxscriber": hexes[0],
    }
    assert golden.headers[-1][1] == expected[name]


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in ("standard", "recall")])
def test_public_libraries_sign_the_same_with_each_secret(path: Path) -> None:
    name, golden = read(path)
    library = standardwebhooks.Webhook if name == "standard" else svix.Webhook
    at = datetime.fromtimestamp(golden.at_s, UTC)
    signatures = [library(secret).sign(golden.event.id, at, golden.body) for secret in golden.secrets]
    assert golden.headers[-1][1].split(" ") == signatures
