"""Records of events.raw as CloudEvents, as the official package writes them."""

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

from app.core.model.event import Event, EventFormat
from app.core.records.raw_event import data_of
from tests.core.records.raw_events import (
    BINARY,
    STRUCTURED,
    Headers,
    cloud,
    native,
    read,
    shown,
)

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


FURTHER = '{"source":"https://example.com/things","subject":"s","datacontenttype":"application/json"}'

WAYS: dict[EventFormat, Callable[..., Any]] = {
    "ce-structured": kafka.to_structured_event,
    "ce-binary": kafka.to_binary_event,
}


def written(way: EventFormat, data: Any, **attributes: Any) -> tuple[bytes, Headers]:
    message = WAYS[way](CloudEvent(ATTRIBUTES | attributes, data))
    return message.value, list(message.headers.items())


@pytest.mark.parametrize("way", WAYS)
def test_a_cloud_event_of_the_official_package_is_decoded(way: EventFormat) -> None:
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
        attributes=FURTHER if way == "ce-binary" else None,
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


def test_a_cloud_event_without_its_content_type_is_one_by_its_specversion() -> None:
    body = cloud(time="2026-01-02T03:04:05Z", data={"n": 1})
    bare = read(body)
    assert bare == read(body, STRUCTURED)
    assert shown(bare, "created_at", "idempotency_key", "format") == ("2026-01-02T03:04:05Z", "/s 1", "ce-structured")
    assert data_of(bare.body, bare.format) == b'{"n": 1}'


def test_data_may_contain_specversion() -> None:
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
