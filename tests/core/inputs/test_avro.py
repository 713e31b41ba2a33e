"""Avro against fastavro as the writer, and against bytes and schemas that nobody should send."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import MalformedEvent
from app.core.inputs.avro import MAX_DEPTH, MAX_NAME_BYTES, MAX_NODES, MAX_VALUES, UnusableSchema, avro_decoder

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [
                        {"name": "sku", "type": "string"},
                        {
                            "name": "price",
                            "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
                        },
                    ],
                },
            },
        },
        {"name": "first", "type": ["null", "Line"]},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "raw", "type": "bytes"},
        {"name": "paid", "type": "boolean"},
        {"name": "weight", "type": "double"},
        {"name": "ratio", "type": "float"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "time", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "fixed_uuid", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
        {"name": "parent", "type": ["null", "shop.Order"]},
    ],
}


def written(schema: Any, value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), value)
    return out.getvalue()


def read(schema: Any, data: bytes) -> Any:
    return json.loads(avro_decoder(json.dumps(schema))(data))


def order(parent: Any = None) -> dict[str, Any]:
    return {
        "id": -(2**40),
        "note": "ä",
        "lines": [{"sku": "a", "price": Decimal("-0.05")}, {"sku": "b", "price": Decimal("1234.50")}],
        "first": {"sku": "c", "price": Decimal(0)},
        "tags": {"x": 1, "y": -1},
        "state": "PAID",
        "hash": b"\0\1\2\3",
        "raw": b"\xff",
        "paid": True,
        "weight": 1.5,
        "ratio": 0.25,
        "day": dt.date(2026, 1, 31),
        "at": dt.datetime(2026, 1, 31, 8, 0, 0, 123456, tzinfo=dt.UTC),
        "local": dt.datetime(2026, 1, 31, 8, 0, 0, 5000),  # noqa: DTZ001
        "time": dt.time(8, 0, 0, 7000),
        "uuid": UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        "fixed_uuid": UUID("16fd2706-8baf-433b-82eb-8c7fada847da").bytes,
        "parent": parent,
    }


def test_every_type_as_fastavro_writes_it() -> None:
    assert read(ORDER, written(ORDER, order(order()))) == {
        "id": -(2**40),
        "note": "ä",
        "lines": [{"sku": "a", "price": "-0.05"}, {"sku": "b", "price": "1234.50"}],
        "first": {"sku": "c", "price": "0.00"},
        "tags": {"x": 1, "y": -1},
        "state": "PAID",
        "hash": "AAECAw==",
        "raw": "/w==",
        "paid": True,
        "weight": 1.5,
        "ratio": 0.25,
        "day": "2026-01-31",
        "at": "2026-01-31T08:00:00.123456Z",
        "local": "2026-01-31T08:00:00.005",
        "time": "08:00:00.007",
        "uuid": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "fixed_uuid": "16fd2706-8baf-433b-82eb-8c7fada847da",
        "parent": read(ORDER, written(ORDER, order())),
    }


PLAIN = {
    "type": "record",
    "name": "P",
    "fields": [
        {"name": "a", "type": ["null", "long", "string", {"type": "array", "items": "long"}]},
        {"name": "b", "type": {"type": "map", "values": ["double", "null"]}},
        {"name": "c", "type": {"type": "array", "items": {"type": "map", "values": "string"}}},
    ],
}
VALUES = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.lists(st.integers(-(2**31), 2**31)),
        "b": st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        "c": st.lists(st.dictionaries(st.text(), st.text())),
    }
)


@given(VALUES)
def test_values_come_back_as_they_were_written(value: Any) -> None:
    assert read(PLAIN, written(PLAIN, value)) == value


@given(st.binary(max_size=60), st.sampled_from([PLAIN, ORDER]))
def test_arbitrary_bytes_have_an_answer(data: bytes, schema: Any) -> None:
    try:
        read(schema, data)
    except MalformedEvent as error:
        assert error.reason in ("not_avro", "too_large")


def test_references_are_types_of_other_schemas() -> None:
    line = {"type": "record", "name": "shop.Line", "fields": [{"name": "sku", "type": "string"}]}
    main = {"type": "record", "name": "shop.Order", "fields": [{"name": "line", "type": "shop.Line"}]}
    assert json.loads(avro_decoder(json.dumps(main), [json.dumps(line)])(b"\x02a")) == {"line": {"sku": "a"}}


LONG = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("schema", "data", "reason"),
    [
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too_large"),
        ({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, b"\x80\x80\x80\x01", "too_large"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, b"\x80\x80\x80\x01", "too_large"),
        ({"type": "map", "values": "null"}, b"\x80\x80\x80\x01" + b"\0" * 2_000_000, "too_large"),
        ("string", LONG, "not_avro"),
        ("string", b"\x01", "not_avro"),
        ("string", b"\x7f", "not_avro"),
        ("string", b"\x02\xff", "not_avro"),
        ("long", b"\xff" * 11, "not_avro"),
        ("long", b"", "not_avro"),
        ("long", b"\x02\x02", "not_avro"),
        (["null", "long"], b"\x04", "not_avro"),
        (["null", "long"], b"\x01", "not_avro"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "not_avro"),
        ("double", b"\0" * 7, "not_avro"),
        ({"type": "bytes", "logicalType": "decimal", "scale": 2}, b"\xa0\x1f" + b"\x7f" * 2000, "not_avro"),
    ],
)
def test_hostile_values(schema: Any, data: bytes, reason: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        read(schema, data)
    assert caught.value.reason == reason


def test_deeply_nested_records_have_an_end() -> None:
    node = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
    assert read(node, b"\x02" * (MAX_DEPTH - 1) + b"\0")
    with pytest.raises(MalformedEvent, match="levels deep"):
        read(node, b"\x02" * 1_000_000)
    forever = {"type": "record", "name": "N", "fields": [{"name": "next", "type": "N"}]}
    with pytest.raises(MalformedEvent, match="levels deep"):
        read(forever, b"")
    lists = {"type": "record", "name": "L", "fields": [{"name": "next", "type": {"type": "array", "items": "L"}}]}
    with pytest.raises(MalformedEvent):
        read(lists, b"\x02" * 1_000_000)


def test_long_names_are_not_repeated_for_ever() -> None:
    name = "n" * (MAX_NAME_BYTES // 100)
    schema = {
        "type": "array",
        "items": {"type": "record", "name": "R", "fields": [{"name": name, "type": "null"}]},
    }
    with pytest.raises(MalformedEvent) as caught:
        read(schema, b"\xd0\x0f")
    assert caught.value.reason == "too_large"
    assert MAX_VALUES * 2 > MAX_NODES


@pytest.mark.parametrize(
    "schema",
    [
        "no json",
        '"unknown"',
        "[" * 100_000,
        '{"type":"array"}',
        '{"type":"record","name":"R"}',
        '{"type":"record","name":"R","fields":[{"name":"a"}]}',
        '{"type":"record","name":"R","fields":[1]}',
        '{"type":"bytes","logicalType":"decimal","scale":-1}',
        '{"type":"bytes","logicalType":"decimal","scale":1e9}',
        "5",
        "null",
        json.dumps(["null"] * (MAX_NODES + 1)),
        '{"type":' * 100 + '"null"' + "}" * 100,
    ],
    ids=lambda schema: schema[:30],
)
def test_schemas_that_cannot_be_used(schema: str) -> None:
    with pytest.raises(UnusableSchema):
        avro_decoder(schema)


def test_times_outside_of_the_calendar_stay_numbers() -> None:
    for kind, number in (("timestamp-millis", 2**62), ("date", 2**30), ("time-micros", -(2**62))):
        base = "int" if kind == "date" else "long"
        schema = {"type": base, "logicalType": kind}
        assert read(schema, written(base, number)) == number
