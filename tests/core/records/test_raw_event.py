"""Intake: every way to write an event gives the same event, its data untouched, and everything else a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.errors import MalformedEvent
from app.core.model.event import Event
from app.core.records.raw_event import Coordinates, decode_event
from tests.core.records.raw_events import (
    AT,
    BINARY,
    MINIMAL,
    STRUCTURED,
    Headers,
    cloud,
    native,
    read,
    shown,
)


def test_a_native_event_with_all_fields() -> None:
    body = native(
        id="e-1",
        created_at="2026-01-02T03:04:05Z",
        tenant="acme",
        mode="test",
        idempotency_key="i",
        ordering_key="o",
        metadata={"anything": [1]},
        unknown="passed over",
    )
    assert read(body) == Event(
        id="e-1",
        type="a.b",
        tenant="acme",
        mode="test",
        created_at="2026-01-02T03:04:05Z",
        body=body,
        format="native",
        idempotency_key="i",
        ordering_key="o",
    )


def test_missing_fields_of_a_native_event_have_defaults() -> None:
    event = read(MINIMAL)
    assert event == Event(
        id=event.id,
        type="a.b",
        tenant="default",
        mode="live",
        created_at="2026-01-02T03:04:05.678Z",
        body=MINIMAL,
        format="native",
    )


def test_null_and_the_empty_mode_count_as_missing() -> None:
    nothing = dict.fromkeys(("id", "created_at", "tenant", "idempotency_key", "ordering_key", "metadata"))
    assert shown(read(native(**nothing, mode="")), "id", "tenant", "mode") == shown(
        read(MINIMAL), "id", "tenant", "mode"
    )


def test_a_derived_id_names_the_record_and_nothing_else() -> None:
    places = [AT, Coordinates("events.raw", 3, 43, 0), Coordinates("events.raw", 4, 42, 0), Coordinates("x", 3, 42, 0)]
    derived = [read(MINIMAL, at=place).id for place in places]
    assert len(set(derived)) == len(places)
    assert read(native(data=[1]), at=Coordinates("events.raw", 3, 42, 99)).id == derived[0]
    # Deliveries of running installations carry it: another derivation would deliver their events again.
    assert derived[0] == "evt_sjnzaum5xbu3ixy3cuhal72c"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, None),
        ({"id": "e"}, "e"),
        ({"id": "e", "idempotency_key": "i"}, "i"),
        ({"id": "e", "idempotency_key": ""}, "e"),
    ],
)
def test_the_idempotency_key_defaults_to_the_producers_id(fields: dict[str, str], key: str | None) -> None:
    assert read(native(**fields)).idempotency_key == key


@pytest.mark.parametrize(
    ("header", "field", "attribute"),
    [
        ("tenant", "tenant", "tenant"),
        ("idempotency-key", "idempotency_key", "idempotencykey"),
        ("ordering-key", "ordering_key", "orderingkey"),
        ("Ordering-KEY", "ordering_key", "orderingkey"),
    ],
)
def test_headers_take_precedence_over_fields(header: str, field: str, attribute: str) -> None:
    won, empty = [(header, b"header")], [(header, b"")]
    ways: list[tuple[bytes, Headers]] = [
        (native(**{field: "field"}), []),
        (cloud(**{attribute: "field"}), STRUCTURED),
        (b"1", [*BINARY, (f"ce_{attribute}", b"field")]),
    ]
    for body, headers in ways:
        assert shown(read(body, headers), field) == ("field",)
        assert shown(read(body, headers + won), field) == ("header",)
        assert shown(read(body, headers + empty), field) == ("field",)


def test_the_mode_header_takes_precedence_and_the_trace_is_read() -> None:
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    event = read(native(mode="live"), [("mode", b"test"), ("traceparent", trace)])
    assert shown(event, "mode", "traceparent") == ("test", trace.decode())


REJECTED: list[tuple[str, bytes | None, Headers]] = [
    ("empty", None, []),
    ("empty", b"", []),
    ("empty", None, STRUCTURED),
    ("not_json", b"hello", []),
    ("not_json", b'{"type":"a.b","data":{}', []),
    ("not_json", b'\xef\xbb\xbf{"type":"a.b","data":{}}', []),
    ("not_json", b'{"type":"a.b","data":"\xff"}', []),
    ("not_json", b'{"type":"a.b","data":01}', []),
    ("not_json", b'{"type":"a.b","data":NaN}', []),
    ("not_json", b'{"type":"a.b","data":[1,]}', []),
    ("not_json", b'{"type":"a.b","data":"\\ud800 lone"}', []),
    ("not_json", b'{"type":"a.b","data":' + b"[" * 9000 + b"]" * 900 + b"}", []),
    ("not_json", b"{", BINARY),
    ("not_json", b"\xff", BINARY),
    ("not_json", cloud(data_base64="!"), STRUCTURED),
    ("not_json", cloud(data_base64="aGVsbG8="), STRUCTURED),
    ("not_json", cloud(data_base64="\u00e9"), STRUCTURED),
    ("not_an_event", b"[]", []),
    ("not_an_event", b'{"data":{}}', []),
    ("not_an_event", b'{"type":"a.b"}', []),
    ("not_an_event", native(type=1), []),
    ("not_an_event", native(metadata=[]), []),
    ("not_an_event", json.dumps({"type": "a.b", "specversion": "1.0"}).encode(), STRUCTURED),
    ("not_an_event", cloud(source=""), STRUCTURED),
    ("not_an_event", cloud(id=""), STRUCTURED),
    ("not_an_event", b"1", BINARY[:2]),
    ("bad_type", native(type=""), []),
    ("bad_type", native(type="a..b"), []),
    ("bad_type", native(type="a.*"), []),
    ("bad_type", native(type="a b"), []),
    ("bad_type", native(type="\u00fc"), []),
    ("bad_type", cloud(type="a/b"), STRUCTURED),
    ("bad_id", native(id=""), []),
    ("bad_id", native(id="a b"), []),
    ("bad_id", native(id="a\r\nx: 1"), []),
    ("bad_id", native(id="\u00fc"), []),
    ("bad_tenant", native(tenant=""), []),
    ("bad_tenant", native(tenant="a/b"), []),
    ("bad_tenant", native(), [("tenant", b"a b")]),
    ("bad_mode", native(mode="prod"), []),
    ("bad_mode", native(), [("mode", b"Live")]),
    ("bad_created_at", native(created_at="yesterday"), []),
    ("bad_created_at", native(created_at="1767323045"), []),
    ("bad_created_at", native(created_at="2026-01-02"), []),
    ("bad_created_at", native(created_at="2026-01-02T03:04:05." + "1" * 64), []),
    ("bad_created_at", native(created_at="2026-02-30T25:61:00Z"), []),
    ("bad_created_at", native(created_at="2026-02-29T00:00:00Z"), []),
    ("bad_created_at", native(created_at="2026-01-02T24:00:00Z"), []),
    ("bad_created_at", native(created_at="2026-01-02T03:04:05"), []),
    ("bad_created_at", native(created_at="2026-01-02T03:04:05+24:00"), []),
    ("bad_created_at", native(created_at="2026-W01-2T03:04:05Z"), []),
    ("bad_created_at", native(created_at="0001-01-01T00:00:00+01:00"), []),
    ("bad_created_at", native(created_at=""), []),
    ("bad_created_at", cloud(time="2026-01-02T03"), STRUCTURED),
    ("bad_created_at", cloud(time="2026-01-02T03:04:05"), STRUCTURED),
    ("bad_created_at", cloud(time="2026-02-30T00:00:00Z"), []),
    ("bad_created_at", b"1", [*BINARY, ("ce_time", b"2026-02-30T00:00:00Z")]),
    ("not_an_event", json.dumps({"type": "a.b", "data": 1, "id": "1", "specversion": "1.0"}).encode(), []),
    ("not_an_event", native(specversion=1), []),
    ("unsupported_content", cloud(specversion="0.3"), []),
    ("not_an_event", native(), [("ce_source", b"/s")]),
    ("not_an_event", native(), [("ce_type", b"a.b")]),
    ("bad_channels", native(channels=[""]), []),
    ("bad_channels", native(channels=["a b"]), []),
    ("bad_channels", native(channels=["a" * 129]), []),
    ("bad_channels", native(channels=["a"] * 21), []),
    ("bad_channels", native(), [("channels", b"a,,b")]),
    ("bad_channels", native(), [("channels", b"a," * 100_000)]),
    ("bad_channels", cloud(channels="a b"), STRUCTURED),
    ("bad_channels", b"1", [*BINARY, ("ce_channels", "\u00fc".encode())]),
    ("not_an_event", native(channels="a"), []),
    ("not_an_event", native(channels=[1]), []),
    ("not_an_event", cloud(channels=["a"]), STRUCTURED),
    ("bad_header", native(), [("Tenant", b"\xff")]),
    ("bad_header", native(), [("ce_id", b"\xff")]),
    ("unsupported_content", b"<a/>", [("content-type", b"application/cloudevents+avro")]),
    ("unsupported_content", b"[]", [("content-type", b"application/cloudevents-batch+json")]),
    ("unsupported_content", b"<a/>", [*BINARY, ("content-type", b"text/xml")]),
    ("unsupported_content", cloud(specversion="0.3"), STRUCTURED),
]


@pytest.mark.parametrize(("reason", "value", "headers"), REJECTED)
def test_an_invalid_record_has_a_reason_and_a_sentence(reason: str, value: bytes | None, headers: Headers) -> None:
    with pytest.raises(MalformedEvent) as caught:
        read(value, headers)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize(
    ("field", "limit", "reason"),
    [
        ("type", 256, "bad_type"),
        ("id", 256, "bad_id"),
        ("tenant", 128, "bad_tenant"),
        ("idempotency_key", 512, "bad_key"),
        ("ordering_key", 512, "bad_key"),
    ],
)
def test_each_name_may_have_its_limit_and_not_one_character_more(field: str, limit: int, reason: str) -> None:
    assert shown(read(native(**{field: "a" * limit})), field) == ("a" * limit,)
    with pytest.raises(MalformedEvent) as caught:
        read(native(**{field: "a" * (limit + 1)}))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "headers"), [(MINIMAL, []), (cloud(), STRUCTURED), (b'"\xc3\xa4"', BINARY)], ids=["native", "ce", "bare"]
)
def test_a_value_of_exactly_the_limit_passes_and_one_byte_more_does_not(value: bytes, headers: Headers) -> None:
    assert read(value, headers, limit=len(value)).body == value
    with pytest.raises(MalformedEvent) as caught:
        read(value, headers, limit=len(value) - 1)
    assert caught.value.reason == "too_large"
    assert str(len(value)) in caught.value.detail


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02 03:04:05.123456789+05:30",
        "2024-02-29t23:59:59.9z",
        "2026-01-02T03:04:05-0800",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_time_with_a_zone_is_accepted_unchanged(moment: str) -> None:
    assert read(native(created_at=moment)).created_at == moment


def test_an_invalid_traceparent_is_dropped() -> None:
    good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = b'{"type":"a","data":1}'
    assert decode_event(body, [("traceparent", good)], AT, max_bytes=99).traceparent == good.decode()
    for bad in (b"00-x\r\nevil: 1", b"", "00-\u00e4".encode(), good.upper(), good + b"-" + b"x" * 500):
        assert decode_event(body, [("traceparent", bad)], AT, max_bytes=99).traceparent is None


def test_a_timestamp_outside_of_the_calendar_is_clamped() -> None:
    for timestamp in (-1, 1_760_000_000_000_000, 2**63 - 1):
        at = Coordinates("t", 0, 0, timestamp)
        assert decode_event(b'{"type":"a","data":1}', (), at, max_bytes=99).created_at[4] == "-"


@pytest.mark.parametrize(
    "headers", [[("anything", b"\xff")], [("x-b3", bytes(16)), ("\\xff", None)], [("CE", b"\xfe")]]
)
def test_other_headers_may_be_binary(headers: Any) -> None:
    assert read(MINIMAL, headers) == read(MINIMAL)


@pytest.mark.parametrize(
    ("value", "headers", "channels"),
    [
        (native(), [], ()),
        (native(channels=None), [], ()),
        (native(channels=[]), [], ()),
        (native(channels=["eu", "p:7_a.b-c"]), [], ("eu", "p:7_a.b-c")),
        (native(channels=["a" * 128] * 20), [], ("a" * 128,) * 20),
        (native(channels=["eu"]), [("Channels", b"us, asia")], ("us", "asia")),
        (native(channels=["eu"]), [("channels", b"")], ("eu",)),
        (cloud(channels="eu, us"), STRUCTURED, ("eu", "us")),
        (b"1", [*BINARY, ("ce_channels", b"eu")], ("eu",)),
        (b"1", [*BINARY, ("ce_channels", b"eu"), ("channels", b"us")], ("us",)),
    ],
)
def test_an_event_carries_channels(value: bytes, headers: Headers, channels: tuple[str, ...]) -> None:
    assert read(value, headers).channels == channels
