"""A delivery survives Kafka: what is written into headers is read back, and what is missing is a defect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Defect
from app.core.model.delivery import Delivery
from app.core.model.event import Event, EventFormat
from app.core.records.delivery import decode, due_at_ms, encode, event_headers, with_delivery

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2) | st.integers(0, 2**62)
FORMATS = st.sampled_from(["native", "ce-structured", "ce-binary"])
MODES = st.sampled_from(["live", "test"])
DELIVERIES = st.builds(
    Delivery,
    id=TEXT,
    endpoint_id=TEXT,
    event_id=TEXT,
    event_type=TEXT,
    tenant=TEXT,
    mode=MODES,
    created_at=TEXT,
    body=st.binary(max_size=50),
    format=FORMATS,
    accepted_at_ms=NUMBER,
    attempts=NUMBER,
    due_at_ms=NUMBER,
    sequence=st.none() | NUMBER,
    ordering_key=st.none() | TEXT,
    replay_id=TEXT,
    traceparent=st.none() | st.text(min_size=1, max_size=20),
)
DELIVERY = Delivery(
    id="dlv_1",
    endpoint_id="ep_1",
    event_id="e1",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="2026-01-01T00:00:00Z",
    body=b"{}",
)
REQUIRED = ("delivery-id", "event-id", "event-type", "tenant", "mode", "created-at")


@given(DELIVERIES)
def test_a_delivery_is_decoded_as_it_was_encoded(delivery: Delivery) -> None:
    assert decode(delivery.endpoint_id.encode(), delivery.body, encode(delivery)) == (delivery, 0)


@given(DELIVERIES)
def test_the_due_time_can_be_read_alone(delivery: Delivery) -> None:
    assert due_at_ms(encode(delivery), delivery.due_at_ms) == delivery.due_at_ms


def test_a_plain_first_attempt_costs_few_headers() -> None:
    assert [name for name, _ in encode(DELIVERY)] == [*REQUIRED, "accepted-at"]


def test_a_manual_action_has_a_revision() -> None:
    asked = msgspec.structs.replace(DELIVERY, revision=7, manual="retry")
    assert encode(asked)[-2:] == [("revision", b"7"), ("manual", b"retry")]
    assert decode(b"ep_1", b"{}", encode(asked)) == (asked, 0)


def test_an_empty_traceparent_is_none() -> None:
    assert "traceparent" not in dict(encode(msgspec.structs.replace(DELIVERY, traceparent="")))


@pytest.mark.parametrize("ordering_key", [None, "o"])
@pytest.mark.parametrize("kind", ["native", "ce-binary"])
@pytest.mark.parametrize("replay", ["", "rpl_1"])
def test_fan_out_writes_what_dispatch_reads(ordering_key: str | None, kind: EventFormat, replay: str) -> None:
    event = Event(
        id="e1",
        type="a.b",
        tenant="acme",
        mode="test",
        created_at="2026-01-01T00:00:00Z",
        body=b"{}",
        format=kind,
        ordering_key=ordering_key,
        traceparent="00-a-b-01",
        attributes='{"source":"/s"}' if kind == "ce-binary" else None,
    )
    sequence = 7 if ordering_key else None
    headers = with_delivery(event_headers(event, 55, sequence, replay, 99), "dlv_1")
    assert decode(b"ep_1", event.body, headers) == (
        Delivery(
            id="dlv_1",
            endpoint_id="ep_1",
            event_id="e1",
            event_type="a.b",
            tenant="acme",
            mode="test",
            created_at=event.created_at,
            body=b"{}",
            format=event.format,
            accepted_at_ms=55,
            sequence=sequence,
            ordering_key=ordering_key,
            replay_id=replay,
            traceparent="00-a-b-01",
            attributes=event.attributes,
        ),
        99,
    )


def test_the_deliveries_of_one_event_share_nothing_that_can_change() -> None:
    shared = [("event-id", b"e1")]
    first, second = with_delivery(shared, "dlv_1"), with_delivery(shared, "dlv_2")
    first.append(("attempts", b"1"))
    assert second == [("delivery-id", b"dlv_2"), ("event-id", b"e1")]


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_header_is_a_defect_that_names_it(missing: str) -> None:
    with pytest.raises(Defect, match=missing):
        decode(b"ep_1", b"{}", [pair for pair in encode(DELIVERY) if pair[0] != missing])


@pytest.mark.parametrize(
    "broken",
    [
        ("attempts", b"one"),
        ("due-at", b""),
        ("sequence", b"1.5"),
        ("accepted-at", b"x"),
        ("attempts", b"-5"),
        ("sequence", b"1" + b"0" * 30),
        ("registry-position", b"9" * 5000),
        ("arrival", b" 1"),
        ("attempts", b"1_0"),
        ("mode", b"both"),
        ("format", b"xml"),
        ("event-id", b"\xff"),
        ("created-at", b"x" * 1025),
    ],
)
def test_an_unreadable_header_is_a_defect(broken: tuple[str, bytes]) -> None:
    with pytest.raises(Defect):
        decode(b"ep_1", b"{}", [*encode(DELIVERY), broken])


@pytest.mark.parametrize(
    ("headers", "due"),
    [
        ([], 0),
        ([("due-at", b"")], 0),
        ([("due-at", b"soon")], 0),
        ([("due-at", b"-5")], 0),
        ([("x", b"1")], 0),
        ([("x", b"1"), ("due-at", b"5")], 5),
        ([("due-at", None)], 0),
        ([("due-at", b"9" * 5000)], 0),
        ([("due-at", b"%d" % (8 * 86_400_000))], 8 * 86_400_000),
        ([("due-at", b"%d" % (10 * 86_400_000))], 0),
    ],
)
def test_an_implausible_due_time_means_at_once(headers: list[Any], due: int) -> None:
    assert due_at_ms(headers, 0) == due
