"""What a record becomes: fields from everywhere, the same event each time, and a reason for each that becomes none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import MalformedEvent
from app.core.inputs.mapping import MappedEvent, SkippedRecord
from app.core.inputs.record_values import InputRecord
from app.core.records.raw_event import Coordinates, decode_event
from tests.core.inputs.records import MAX_EVENT, NOW_MS, body, event, one, record

EVERYTHING = """
    type: {header: kind}
    tenant: {path: $.customer.id}
    mode: {path: $.sandbox, map: {"true": test, "false": live}}
    id: {join: [{topic: true}, {path: $.number}], separator: ":"}
    idempotency_key: {header: request}
    ordering_key: {key: $.order}
    time: {path: $.at, unit: s}
    data: {path: $.order}
    metadata: {source: {topic: 'shop\\.(.*)'}, region: eu}
"""


def rejected(text: str, given_record: InputRecord) -> str:
    with pytest.raises(MalformedEvent) as caught:
        one(text).event_of(given_record)
    return caught.value.reason


def test_each_field_comes_from_where_the_input_says() -> None:
    value = (
        b'{"customer":{"id":"acme"},"sandbox":true,"number":12,"at":1769846400.5,'
        b'"order":{"total" : 1.0, "big":12345678901234567890}}'
    )
    mapped = event(
        one(EVERYTHING), record(value, key=b'{"order":"o-1"}', kind="order.created", request="r1", other="x")
    )
    assert body(mapped) | {"data": 0} == {
        "type": "order.created",
        "id": "shop.orders:12",
        "created_at": "2026-01-31T08:00:00.500Z",
        "tenant": "acme",
        "mode": "test",
        "idempotency_key": "r1",
        "ordering_key": "o-1",
        "metadata": {"source": "orders", "region": "eu"},
        "data": 0,
    }
    assert b'"data":{"total" : 1.0, "big":12345678901234567890}' in (mapped.value or b""), "data is not re-encoded"
    assert mapped.key == b"o-1"
    assert mapped.headers == [("input", b"shop"), ("input-record", b"shop.orders/3/7")]


def test_what_is_not_declared_has_a_default() -> None:
    mapped = event(one("type: a.b"), record({"x": 1}, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
    fields = body(mapped)
    assert fields["data"] == {"x": 1} and fields["created_at"] == "2026-01-31T08:00:00.000Z"
    assert mapped.event.tenant == "default" and mapped.event.mode == "live" and mapped.event.ordering_key is None
    assert mapped.event.traceparent is not None, "the trace goes on"
    assert mapped.key == mapped.event.id.encode(), "so that events without an ordering key are spread"


def test_derived_ids_are_the_same_each_time_and_differ_between_records() -> None:
    shop = one("type: a")
    first = event(shop, record({})).event.id
    assert event(shop, record({"other": "content"})).event.id == first
    assert event(shop, record({}, offset=8)).event.id != first
    assert event(one("{type: a, topics: [other]}"), record({}, topic="other")).event.id != first
    again = InputRecord(
        topic="shop.orders", partition=3, offset=7, timestamp=NOW_MS + 1, key=None, value=b"{}", headers=[]
    )
    assert event(shop, again).event.id != first, "the topic was created again"


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("tenant: {header: t}", "no_tenant"),
        ("mode: {path: $.m}", "no_mode"),
        ("id: {header: i}", "no_id"),
        ("ordering_key: {key: true}", "no_ordering_key"),
        ("time: {path: $.t}", "no_time"),
        ("data: {path: $.d}", "no_data"),
        ("id: {path: $.null}", "no_id"),
        ("tenant: {path: $.empty}", "no_tenant"),
        ("tenant: [{header: t}, {path: $.a, map: {x: y}}]", "no_tenant"),
    ],
)
def test_a_record_without_a_declared_field_is_rejected(field: str, reason: str) -> None:
    given_record = record({"a": 1, "null": None, "empty": ""})
    assert rejected(f"type: a\n{field}", given_record) == reason
    name = field.partition(":")[0]
    if name not in ("data",):
        assert event(one(f"type: a\n{field}\noptional: [{name}]"), given_record)


def test_the_first_candidate_that_a_record_has_counts() -> None:
    shop = one("{type: [{header: kind}, {path: $.kind}, fallback], tenant: acme}")
    assert event(shop, record({"kind": "b"}, kind="a")).event.type == "a"
    assert event(shop, record({"kind": "b"})).event.type == "b"
    assert event(shop, record({})).event.type == "fallback"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"text", "not_json"),
        (b"{", "not_json"),
        (b'{"a":1} {"b":2}', "not_json"),
        (b'1,"tenant":"other"', "not_json"),
        (b'{"a":"\xff"}', "not_json"),
        (b"\xff\xfe{\x00", "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":"\\ud800"}', "not_json"),
        (b"[" * 100_000 + b"]" * 100_000, "not_json"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "not_json"),
        (b'{"a":"' + b"x" * MAX_EVENT + b'"}', "too_large"),
        (b'{"a":"' + b"x" * 2_000_000 + b'"}', "too_large"),
        (b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}", "too_large"),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize("more", ["", "data: {path: $.a}", "tenant: {path: $.a.b}", "connect_envelope: true"])
def test_hostile_values_have_a_reason(value: bytes | None, reason: str, more: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        one(f"type: a\n{more}").event_of(record(value))
    assert caught.value.reason in (reason, "no_data", "no_tenant")


@pytest.mark.parametrize(
    ("headers", "key", "more", "reason"),
    [
        ({"t": "a b"}, None, "type: {header: t}", "bad_type"),
        ({"t": "a..b"}, None, "type: {header: t}", "bad_type"),
        ({"t": "hookstream.endpoint.disabled"}, None, "type: {header: t}", "bad_type"),
        ({"t": "x" * 129}, None, "{type: a, tenant: {header: t}}", "bad_tenant"),
        ({"t": "prod"}, None, "{type: a, mode: {header: t}}", "bad_mode"),
        ({"t": "a b"}, None, "{type: a, id: {header: t}}", "bad_id"),
        ({"t": "x" * 513}, None, "{type: a, ordering_key: {header: t}}", "bad_key"),
        ({"t": "yesterday"}, None, "{type: a, time: {header: t}}", "bad_created_at"),
        ({}, b"\xff", "{type: a, ordering_key: {key: true}}", "bad_key"),
        ({}, b"\xff", "{type: a, ordering_key: {key: $.a}}", "bad_key"),
        ({}, b"{", "{type: a, ordering_key: {key: $.a}}", "not_json"),
    ],
)
def test_values_that_no_event_can_have_are_rejected(
    headers: dict[str, str], key: bytes | None, more: str, reason: str
) -> None:
    assert rejected(more, with_headers(headers, key)) == reason


def with_headers(headers: dict[str, str], key: bytes | None = None) -> InputRecord:
    return replaced(record({}, key=key), [(name, text.encode()) for name, text in headers.items()])


def test_a_header_that_is_not_text_is_rejected_only_where_it_is_used() -> None:
    given_record = InputRecord(
        topic="shop.orders", partition=0, offset=0, timestamp=0, key=None, value=b"{}", headers=[("h", b"\xff")]
    )
    assert rejected("{type: {header: h}}", given_record) == "bad_header"
    assert event(one("type: a"), given_record)


@pytest.mark.parametrize(
    ("unit", "number", "expected"),
    [
        ("iso", "2026-01-31T08:00:00+01:00", "2026-01-31T08:00:00+01:00"),
        ("iso", 1769846400123, "2026-01-31T08:00:00.123Z"),
        ("ms", 1769846400123, "2026-01-31T08:00:00.123Z"),
        ("s", 1769846400, "2026-01-31T08:00:00.000Z"),
        ("s", "1769846400.25", "2026-01-31T08:00:00.250Z"),
        ("us", 1769846400123456, "2026-01-31T08:00:00.123Z"),
        ("ns", 1769846400123456789, "2026-01-31T08:00:00.123Z"),
        ("ms", -5, "1970-01-01T00:00:00.000Z"),
        ("s", 9_999_999_999_999_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times(unit: str, number: Any, expected: str) -> None:
    mapped = event(one(f"{{type: a, time: {{path: $.t, unit: {unit}}}}}"), record({"t": number}))
    assert body(mapped)["created_at"] == expected


def test_conditions_leave_records_out() -> None:
    shop = one("{type: a, tombstones: skip, skip: [{source: {path: $.op}, values: [r, t]}]}")
    assert shop.event_of(record(None)) == SkippedRecord("tombstone")
    assert shop.event_of(record(b"")) == SkippedRecord("tombstone")
    assert shop.event_of(record({"op": "r"})) == SkippedRecord("condition")
    assert isinstance(shop.event_of(record({"op": "u"})), MappedEvent)


def test_headers_around_an_event_are_bounded() -> None:
    big = {f"ce_x{number}": "x" * 1000 for number in range(120)}
    ce = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "a"}
    assert rejected("preset: cloudevents", with_headers(ce | big)) == "too_large"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.none() | st.binary(max_size=40) | JSON,
    st.none() | st.binary(max_size=20),
    st.lists(st.tuples(st.sampled_from(["kind", "id", "ce_id", "ce_type", "x"]), st.binary(max_size=12)), max_size=4),
    st.sampled_from([EVERYTHING, "preset: debezium-outbox", "preset: debezium-cdc", "preset: cloudevents", "type: a"]),
)
def test_every_record_has_an_answer_and_every_event_is_one_for_fanout(
    value: Any, key: bytes | None, headers: list[tuple[str, bytes]], text: str
) -> None:
    given_record = replaced(record(value, key=key), headers)
    try:
        mapped = one(text).event_of(given_record)
    except MalformedEvent as error:
        assert error.reason.isidentifier() and error.detail
        return
    if isinstance(mapped, MappedEvent):
        at = Coordinates("events.raw", 0, 0, 0)
        read = decode_event(mapped.value, mapped.headers, at, max_bytes=MAX_EVENT)
        assert (read.id, read.type, read.tenant) == (mapped.event.id, mapped.event.type, mapped.event.tenant)


def replaced(given_record: InputRecord, headers: list[tuple[str, bytes]]) -> InputRecord:
    return InputRecord(
        topic=given_record.topic,
        partition=given_record.partition,
        offset=given_record.offset,
        timestamp=given_record.timestamp,
        key=given_record.key,
        value=given_record.value,
        headers=headers,
    )
