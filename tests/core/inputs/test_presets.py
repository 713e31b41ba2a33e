"""The presets: records as Debezium and CloudEvents libraries write them.

The records of Debezium are recorded from its engine; see tests/core/inputs/debezium/README.md.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.errors import MalformedEvent
from app.core.inputs.mapping import SkippedRecord
from app.core.records.raw_event import data_of
from tests.core.inputs.records import body, event, one, record

ORDER = {"id": 42, "total": 99.5}
#: JsonConverter with `schemas.enable=true` and a payload column of type JSONB
ENVELOPE = {"schema": {"type": "string", "optional": True, "name": "io.debezium.data.Json"}, "payload": '{"id": 42}'}


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (ORDER, ORDER),
        (msgspec.json.encode(ORDER).decode(), ORDER),
        (ENVELOPE, {"id": 42}),
        ("just text", "just text"),
        ("{not json", "{not json"),
        ({"schema": None, "payload": {"a": 1}}, {"a": 1}),
        ({"schema": 1, "payload": 2, "more": 3}, {"schema": 1, "payload": 2, "more": 3}),
    ],
)
def test_the_outbox_takes_the_payload_however_it_was_converted(value: Any, data: Any) -> None:
    outbox = one("{preset: debezium-outbox, topics: [outbox.event.order]}")
    fields = body(event(outbox, record(value, key=b"42", topic="outbox.event.order", id="7c9e")))
    assert fields["data"] == data
    assert fields["id"] == "7c9e" and fields["type"] == "order" and fields["ordering_key"] == "42"


@pytest.mark.parametrize(
    ("key", "ordering_key"),
    [
        (b"42", "42"),
        (b'"42"', "42"),
        (b'{"schema":{"type":"string","optional":false},"payload":"42"}', "42"),
        (b'{"id": 1, "region": "eu"}', '{"id":1,"region":"eu"}'),
        (None, None),
        (b"null", "null"),
        (b'"broken', '"broken'),
    ],
)
def test_the_key_is_the_ordering_key_however_it_was_converted(key: bytes | None, ordering_key: str | None) -> None:
    mapped = event(one("preset: debezium-outbox"), record(ORDER, key=key, id="1", type="order.created"))
    assert mapped.event.ordering_key == ordering_key and mapped.event.type == "order.created"


def test_an_own_field_replaces_that_of_the_preset() -> None:
    outbox = one("{preset: debezium-outbox, type: {path: $.kind}, tenant: {header: tenant}, data: {path: $.body}}")
    mapped = event(outbox, record({"kind": "a.b", "body": {"x": 1}}, id="1", type="other", tenant="acme"))
    assert (mapped.event.type, mapped.event.tenant) == ("a.b", "acme") and body(mapped)["data"] == {"x": 1}
    with pytest.raises(MalformedEvent, match="takes ordering_key"):  # optional in the preset, required when declared
        one("{preset: debezium-outbox, ordering_key: {header: order}}").event_of(record({}, id="1", type="a"))
    with pytest.raises(MalformedEvent, match="takes id"):
        one("preset: debezium-outbox").event_of(record({}, type="a"))


def change(op: str, **more: Any) -> dict[str, Any]:
    source = {"table": "orders", "schema": "public", "ts_ms": 1_769_846_400_123}
    return {"op": op, "before": None, "after": None, "source": source, "ts_ms": 1_769_846_401_000, **more}


@pytest.mark.parametrize(("op", "verb"), [("c", "created"), ("u", "updated"), ("d", "deleted")])
@pytest.mark.parametrize("enveloped", [False, True])
def test_changes_of_rows(op: str, verb: str, enveloped: bool) -> None:
    value: Any = change(op, before={"id": 1}, after={"id": 1, "price": 2.50})
    key: Any = {"id": 1}
    if enveloped:
        value, key = ({"schema": {"type": "struct"}, "payload": each} for each in (value, key))
    mapped = event(one("preset: debezium-cdc"), record(value, key=msgspec.json.encode(key)))
    assert body(mapped) | {"id": ""} == {
        "id": "",
        "type": f"orders.{verb}",
        "created_at": "2026-01-31T08:00:00.123Z",
        "ordering_key": 'orders:{"id":1}',
        "data": {"before": {"id": 1}, "after": {"id": 1, "price": 2.5}},
    }


def test_what_is_no_change_of_a_row() -> None:
    cdc = one("preset: debezium-cdc")
    assert cdc.event_of(record(None, key=b"{}")) == SkippedRecord("tombstone")
    for op in ("r", "t", "m"):
        assert cdc.event_of(record(change(op))) == SkippedRecord("condition")
    with pytest.raises(MalformedEvent, match="takes type"):
        cdc.event_of(record({"ts_ms": 1, "databaseName": "a", "ddl": "CREATE TABLE"}))
    with pytest.raises(MalformedEvent, match="takes type"):
        cdc.event_of(record(change("x")))
    assert isinstance(one("{preset: debezium-cdc, skip: []}").event_of(record(change("c"))), object)


BINARY = {
    "ce_specversion": "1.0",
    "ce_id": "e-1",
    "ce_source": "/shop",
    "ce_type": "order.created",
    "content-type": "application/json",
}


def binary(value: Any, *, key: bytes | None = None, **more: str) -> Any:
    plain = record(value, key=key)
    headers = [(name, text.encode()) for name, text in ({**BINARY, "other": "x", **more}).items()]
    return type(plain)(
        topic=plain.topic, partition=0, offset=1, timestamp=plain.timestamp, key=key, value=plain.value, headers=headers
    )


def test_a_binary_cloudevent_is_passed_on_with_its_headers() -> None:
    mapped = event(one("{preset: cloudevents, tenant: acme}"), binary(b'{"a" : 1.0}', key=b"o-1"))
    assert mapped.value == b'{"a" : 1.0}'
    assert ("ce_time", b"2026-01-31T08:00:00.000Z") in mapped.headers
    assert ("tenant", b"acme") in mapped.headers and not any(name == "other" for name, _ in mapped.headers)
    assert (mapped.event.id, mapped.event.tenant, mapped.event.ordering_key) == ("e-1", "acme", "o-1")
    assert mapped.event.idempotency_key == "/shop e-1" and mapped.key == b"o-1"


def test_a_cloudevent_says_itself_what_orders_it() -> None:
    cloudevents = one("preset: cloudevents")
    assert event(cloudevents, binary({}, key=b"k", ce_orderingkey="o")).event.ordering_key == "o"
    assert event(cloudevents, binary({}, key=b"k", ce_partitionkey="p")).event.ordering_key == "p"
    assert event(cloudevents, binary({})).event.ordering_key is None
    declared = one("{preset: cloudevents, ordering_key: {header: other}}")
    assert event(declared, binary({}, key=b"k", ce_orderingkey="o")).event.ordering_key == "x"
    assert event(cloudevents, binary(None)).event.id == "e-1", "an event may have no data"


def test_a_structured_cloudevent_is_passed_on() -> None:
    value = {"specversion": "1.0", "id": "e-2", "source": "/shop", "type": "order.created", "data": {"a": 1}}
    mapped = event(one("preset: cloudevents"), record(value, key=b"o-1"))
    assert mapped.event.created_at == "2026-01-31T08:00:00.000Z" and mapped.event.ordering_key == "o-1"
    assert data_of(mapped.event.body, mapped.event.format) == b'{"a":1}'
    timed = event(one("preset: cloudevents"), record(value | {"time": "2026-01-01T00:00:00Z", "partitionkey": "p"}))
    assert timed.event.created_at == "2026-01-01T00:00:00Z" and timed.event.ordering_key == "p"


@pytest.mark.parametrize("value", [{"type": "a", "data": {}}, [], "x", None, b"", b'{"specversion":null}'])
def test_what_is_no_cloudevent_is_rejected(value: Any) -> None:
    with pytest.raises(MalformedEvent):
        one("preset: cloudevents").event_of(record(value))
