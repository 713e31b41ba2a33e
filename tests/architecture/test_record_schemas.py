"""schemas/records/ says what the code reads and writes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from app.core.errors import MalformedEvent
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.tenant import Tenant
from app.core.records import command, duplicate
from app.core.records.raw_event import Coordinates, decode_event
from app.roles.dispatch.attempts import unsent
from tests.architecture.record_schemas import FOLDER, documents

_DELIVERY = Delivery(
    id="dlv_1",
    endpoint_id="ep_1",
    event_id="e1",
    event_type="user.created",
    tenant="acme",
    mode="live",
    created_at="2026-01-01T00:00:00Z",
    body=b"{}",
    sequence=3,
    ordering_key="user-1",
)
_SECRET = SealedSecret(key_id="k1", blob="AAAA", created_at_ms=1)
_ENDPOINT = Endpoint(
    id="ep_1",
    tenant="acme",
    mode="live",
    url="https://example.com",
    events=("user.*",),
    profile="bota",
    secrets=(_SECRET,),
    schedule=(0, 5),
)
_ATTEMPT = unsent(_DELIVERY, _ENDPOINT, "cancelled", "endpoint_removed", "it is gone", 1)

_DUPLICATE = duplicate.DuplicateNotice(
    tenant="acme",
    mode="test",
    idempotency_key="k",
    event_id="e1",
    topic="events.raw",
    partition=1,
    offset=9,
    timestamp_ms=5,
    first_partition=1,
    first_offset=2,
    first_timestamp_ms=3,
)

_EVENTS: tuple[Any, ...] = (
    {"type": "user.created", "data": {}},
    {"type": "user.created", "data": None, "id": None, "mode": "", "metadata": {"a": [1]}},
    {"type": "a", "data": 1, "id": "e-1", "tenant": "t", "mode": "test", "created_at": "2026-01-01T00:00:00.5+01:00"},
    {"type": "a", "data": 1, "idempotency_key": "k" * 512, "ordering_key": "k" * 512},
    {"type": "a", "data": 1, "idempotency_key": "k" * 513},
    {"type": "a", "data": 1, "ordering_key": "k" * 513},
    {"type": "a" * 256, "data": 1},
    {"type": "a" * 257, "data": 1},
    {"type": "user..created", "data": {}},
    {"type": "user.created"},
    {"data": {}},
    {"type": 1, "data": {}},
    {"type": "a", "data": 1, "id": "has space"},
    {"type": "a", "data": 1, "id": ""},
    {"type": "a", "data": 1, "tenant": "a/b"},
    {"type": "a", "data": 1, "mode": "prod"},
    {"type": "a", "data": 1, "created_at": "yesterday"},
    {"type": "a", "data": 1, "metadata": []},
    [],
)


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_files_equal_the_generated_ones(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == documents()[name], (
        "run: .venv/bin/python -m tests.architecture.record_schemas"
    )


def test_no_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(documents())


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        ("attempts", _ATTEMPT),
        ("registry", _ENDPOINT),
        ("registry", Tenant(id="acme", notify_emails=("ops@example.com",))),
        ("registry.commands", command.Command(id="c", issued_at_ms=1, action=command.CreateEndpoint(_ENDPOINT))),
        ("registry.commands", command.Command(id="c", issued_at_ms=1, action=command.UpdateEndpoint("ep_1", {}))),
        ("registry.commands", command.Command(id="c", issued_at_ms=1, action=command.RemoveEndpoint("ep_1", 2))),
        ("registry.commands", command.Command(id="c", issued_at_ms=1, action=command.PutTenant(Tenant(id="a")))),
        (
            "registry.replies",
            command.CommandReply(command_id="c", ok=False, code="conflict", detail="version 2, not 1"),
        ),
    ],
)
def test_written_records_are_valid_and_invalid_without_an_id(topic: str, value: msgspec.Struct) -> None:
    schema = _validator(topic)
    written = msgspec.json.decode(msgspec.json.encode(value))
    schema.validate(written)
    for name in {"id", "command_id", "delivery_id"} & set(written):
        assert not schema.is_valid({key: part for key, part in written.items() if key != name})


def test_the_headers_of_a_dropped_duplicate_are_valid() -> None:
    headers = {name: text.decode() for name, text in duplicate.write(_DUPLICATE)}
    schema = _validator("events.duplicates")
    schema.validate(headers)
    assert not schema.is_valid({name: text for name, text in headers.items() if name != "first-offset"})


@pytest.mark.parametrize("value", _EVENTS, ids=lambda value: json.dumps(value)[:60])
def test_the_schema_and_the_intake_agree_about_events(value: Any) -> None:
    try:
        decode_event(json.dumps(value).encode(), (), Coordinates("events.raw", 0, 0, 0), max_bytes=10_000)
        accepted = True
    except MalformedEvent:
        accepted = False
    assert _validator("events.raw").is_valid(value) is accepted


def _validator(topic: str) -> Any:
    return jsonschema_rs.validator_for(json.loads((FOLDER / f"{topic}.v1.json").read_text(encoding="utf-8")))
