"""The data of an event passes byte for byte, and garbage is malformed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import MalformedEvent
from app.core.records.raw_event import data_of, decode_event
from tests.core.records.raw_events import (
    AT,
    BINARY,
    CLOUD,
    MINIMAL,
    STRUCTURED,
    Headers,
    cloud,
    read,
)

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


def test_the_last_of_two_equal_names_is_checked_and_sent() -> None:
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


def test_an_accepted_event_can_be_decoded_from_deeper_calls() -> None:
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
def test_the_data_of_an_invalid_record_is_refused(kind: Any, body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        data_of(body, kind)
