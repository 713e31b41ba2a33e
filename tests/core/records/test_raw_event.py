"""Intake: every way to write an event gives the same event, its data untouched, and everything else a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import MalformedEvent
from app.core.model.event import Event, EventFormat
from app.core.records.raw_event import Coordinates, data_of, decode_event

AT = Coordinates("events.raw", 3, 42, 1_767_323_045_678)
LIMIT = 10_000
Headers = list[tuple[str, bytes]]

STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
BINARY: Headers = [("ce_id", b"1"), ("ce_type", b"a.b"), ("ce_source", b"/s"), ("ce_specversion", b"1.0")]
CLOUD = {"id": "1", "type": "a.b", "source": "/s", "specversion": "1.0"}
MINIMAL = b'{"type":"a.b","data":{}}'


def read(value: bytes | None, headers: Headers | None = None, at: Coordinates = AT, limit: int = LIMIT) -> Event:
    return decode_event(value, headers or [], at, max_bytes=limit)


def native(**fields: Any) -> bytes:
    return json.dumps({"type": "a.b", "data": {}} | fields).encode()


def cloud(**fields: Any) -> bytes:
    return json.dumps(CLOUD | fields).encode()


def shown(event: Event, *fields: str) -> tuple[Any, ...]:
    return tuple(getattr(event, field) for field in fields)


def test_a_native_event_says_everything_itself() -> None:
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


def test_what_a_native_event_leaves_out_has_a_default() -> None:
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


def test_null_and_the_empty_mode_are_as_good_as_nothing() -> None:
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
def test_headers_win_over_fields(header: str, field: str, attribute: str) -> None:
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


def test_the_mode_header_wins_and_the_trace_comes_along() -> None:
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
    ("bad_header", native(), [("Tenant", b"\xff")]),
    ("bad_header", native(), [("ce_id", b"\xff")]),
    ("unsupported_content", b"<a/>", [("content-type", b"application/cloudevents+avro")]),
    ("unsupported_content", b"[]", [("content-type", b"application/cloudevents-batch+json")]),
    ("unsupported_content", b"<a/>", [*BINARY, ("content-type", b"text/xml")]),
    ("unsupported_content", cloud(specversion="0.3"), STRUCTURED),
]


@pytest.mark.parametrize(("reason", "value", "headers"), REJECTED)
def test_what_is_no_event_has_a_reason_and_a_sentence(reason: str, value: bytes | None, headers: Headers) -> None:
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
def test_a_time_with_a_zone_is_taken_as_it_is_written(moment: str) -> None:
    assert read(native(created_at=moment)).created_at == moment


def test_a_cloud_event_without_its_content_type_is_one_by_its_specversion() -> None:
    body = cloud(time="2026-01-02T03:04:05Z", data={"n": 1})
    bare = read(body)
    assert bare == read(body, STRUCTURED)
    assert shown(bare, "created_at", "idempotency_key", "format") == ("2026-01-02T03:04:05Z", "/s 1", "ce-structured")
    assert data_of(bare.body, bare.format) == b'{"n": 1}'


def test_data_may_speak_of_specversion() -> None:
    event = read(native(id="e", data={"specversion": "1.0"}, specversion=None))
    assert shown(event, "idempotency_key", "format") == ("e", "native")


def test_two_sources_never_share_an_idempotency_key() -> None:
    pairs = [("/s", "1"), ("/t", "1"), ("/s 1", "1"), ("/s", "2"), ("/s 1 ", "1")]
    keys = set()
    for source, id_ in pairs:
        ways: list[tuple[bytes, Headers]] = [
            (cloud(source=source, id=id_), STRUCTURED),
            (cloud(source=source, id=id_), []),
            (b"1", [*BINARY[1:2], BINARY[3], ("ce_source", source.encode()), ("ce_id", id_.encode())]),
        ]
        (key,) = {read(body, headers).idempotency_key for body, headers in ways}
        keys.add(key)
    assert len(keys) == len(pairs)


# --- CloudEvents, as the official package writes them -----------------------------------------------------------

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
ATTRIBUTES = {
    "id": "A-1",
    "source": "https://example.com/things",
    "type": "com.example.thing_made",
    "time": MOMENT,
    "datacontenttype": "application/json",
    "tenant": "acme",
    "mode": "test",
    "orderingkey": "thing-1",
    "subject": "s",
}
WAYS: dict[EventFormat, Callable[..., Any]] = {
    "ce-structured": kafka.to_structured_event,
    "ce-binary": kafka.to_binary_event,
}


def written(way: EventFormat, data: Any, **attributes: Any) -> tuple[bytes, Headers]:
    message = WAYS[way](CloudEvent(ATTRIBUTES | attributes, data))
    return message.value, list(message.headers.items())


@pytest.mark.parametrize("way", WAYS)
def test_a_cloud_event_of_the_official_package_is_understood(way: EventFormat) -> None:
    value, headers = written(way, {"gr\u00fc\u00dfe": [1, 2.5, None]})
    event = read(value, headers)
    moment = event.created_at
    assert datetime.fromisoformat(moment) == MOMENT
    assert event == Event(
        id="A-1",
        type="com.example.thing_made",
        tenant="acme",
        mode="test",
        created_at=moment,
        body=value,
        format=way,
        idempotency_key="https://example.com/things A-1",
        ordering_key="thing-1",
    )
    assert json.loads(data_of(event.body, event.format)) == {"gr\u00fc\u00dfe": [1, 2.5, None]}


@pytest.mark.parametrize("way", WAYS)
def test_a_cloud_event_needs_no_data_and_no_extensions(way: EventFormat) -> None:
    message = WAYS[way](CloudEvent({"id": "1", "source": "/s", "type": "a.b", "time": MOMENT}, None))
    event = read(message.value, list(message.headers.items()))
    assert shown(event, "tenant", "mode", "ordering_key", "format") == ("default", "live", None, way)
    assert data_of(event.body, event.format) == b"null"


@pytest.mark.parametrize("way", WAYS)
def test_the_same_id_from_another_source_is_another_event(way: EventFormat) -> None:
    keys = {read(*written(way, {}, source=source, id=id_)).idempotency_key for source in "ab" for id_ in "12"}
    assert len(keys) == 4


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4)))
@example("\U0001f600")
def test_bytes_in_a_structured_cloud_event_are_the_data(data: Any) -> None:
    data_bytes = json.dumps(data).encode()
    value, headers = written("ce-structured", data_bytes)
    assert b"data_base64" in value
    event = read(value, headers)
    assert data_of(event.body, event.format) == data_bytes


# --- byte for byte ----------------------------------------------------------------------------------------------

SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1.0", "1.50", "1e5", "1E+5", "1e-7", "0.1e1", "9007199254740993", "1" * 40, "1e400"]
)
CHARACTERS = st.sampled_from(
    ["a", "\u00e4", "\U0001f600", r"\u00e4", r"\u00E4", r"\ud83d\ude00", r"\/", "/", r"\n", r"\"", r"\\", r"\u0000"]
)
STRINGS = st.lists(CHARACTERS, max_size=6).map(lambda parts: f'"{"".join(parts)}"')
KEYS = st.sampled_from(['"a"', '"b"', '"data"', '"type"', r'"\u0061"', '""'])  # few: duplicates are likely


def _array(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(SPACE, inner, SPACE).map("".join), max_size=4)
    return st.tuples(SPACE, items).map(lambda parts: f"[{','.join(parts[1]) or parts[0]}]")


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(SPACE, KEYS, SPACE, st.just(":"), SPACE, inner, SPACE).map("".join)
    return st.lists(pair, max_size=4).map(lambda pairs: f"{{{','.join(pairs)}}}")


SPELLINGS = st.recursive(
    st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS,
    lambda inner: _array(inner) | _object(inner),
    max_leaves=12,
)


@given(SPELLINGS, SPACE, SPACE)
def test_data_passes_through_byte_for_byte(data: str, before: str, after: str) -> None:
    json.loads(data)  # the strategy writes JSON
    cloud_event = json.dumps(CLOUD)[:-1]
    ways: list[tuple[str, Headers]] = [
        (f'{{"data":{before}{data}{after},"type":"a.b","id":"1"}}', []),
        (f'{cloud_event},"data":{before}{data}{after}}}', STRUCTURED),
        (data, BINARY),
    ]
    for body, headers in ways:
        event = read(body.encode(), headers, limit=1_000_000)
        assert event.body == body.encode()
        assert data_of(event.body, event.format) == data.encode()


def test_of_a_name_given_twice_the_last_counts_for_checking_and_for_sending() -> None:
    event = read(b'{"data":1,"type":"a","type":"b","data":2}')
    assert (event.type, data_of(event.body, event.format)) == ("b", b"2")


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.tuples(st.sampled_from([MINIMAL, cloud(data=[1])]), st.integers(0, 80), st.binary(max_size=4)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
    st.sampled_from([[], STRUCTURED, BINARY, [("ce_id", b"")], [("mode", b"test")]]),
    st.lists(st.tuples(st.sampled_from(["mode", "ce_time", "ce_data", "x"]), st.binary(max_size=5)), max_size=2),
)
def test_garbage_is_malformed_and_never_anything_worse(value: bytes, headers: Headers, more: Headers) -> None:
    try:
        event = read(value, headers + more)
    except MalformedEvent as error:
        assert error.reason and error.detail
    else:
        json.loads(data_of(event.body, event.format))


def test_a_traceparent_that_is_none_is_not_passed_on() -> None:
    good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = b'{"type":"a","data":1}'
    assert decode_event(body, [("traceparent", good)], AT, max_bytes=99).traceparent == good.decode()
    for bad in (b"00-x\r\nevil: 1", b"", "00-\u00e4".encode(), good.upper(), good + b"-" + b"x" * 500):
        assert decode_event(body, [("traceparent", bad)], AT, max_bytes=99).traceparent is None


def test_a_timestamp_that_no_calendar_has_is_clamped() -> None:
    for timestamp in (-1, 1_760_000_000_000_000, 2**63 - 1):
        at = Coordinates("t", 0, 0, timestamp)
        assert decode_event(b'{"type":"a","data":1}', (), at, max_bytes=99).created_at[4] == "-"


def test_what_is_accepted_can_be_read_from_deeper_calls() -> None:
    def deep(body: bytes, frames: int) -> bytes:
        return deep(body, frames - 1) if frames else data_of(body, "native")

    accepted = 0
    for depth in range(500, 1000, 7):
        data = b"[" * depth + b"]" * depth
        body = b'{"type":"a","data":' + data + b"}"
        try:
            decode_event(body, (), AT, max_bytes=10**6)
        except MalformedEvent as error:
            assert error.reason == "not_json"
            continue
        accepted += 1
        assert deep(body, 150) == data
    assert accepted, "nothing this deep is accepted: the test tests nothing"


@pytest.mark.parametrize("kind", ["native", "ce-structured"])
@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"[" * 100_000, b'{"data":', b'{"type":"a"}'])
def test_the_data_of_what_is_no_event_is_refused(kind: Any, body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        data_of(body, kind)


@pytest.mark.parametrize(
    "headers", [[("anything", b"\xff")], [("x-b3", bytes(16)), ("\\xff", None)], [("CE", b"\xfe")]]
)
def test_what_tools_add_to_the_headers_may_be_binary(headers: Any) -> None:
    assert read(MINIMAL, headers) == read(MINIMAL)
