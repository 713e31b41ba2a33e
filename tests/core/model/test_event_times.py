"""`deliver_at` and `expires_at` of events: what they may be, and what is refused, whoever wrote it."""

from __future__ import annotations

import json

import pytest

from app.core import limits
from app.core.errors import MalformedEvent
from app.core.model.event import Event
from app.core.model.event_times import delivery_window
from app.core.records import delivery as delivery_record
from app.core.records.raw_event import Coordinates, decode_event

DAY_MS = 86_400_000
#: 2026-01-01T00:00:00Z
NOW_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("deliver_at", "expires_at", "window"),
    [
        (None, None, (None, None)),
        ("2026-01-01T00:00:05Z", None, (NOW_MS + 5000, None)),
        ("2026-01-01T01:00:05+01:00", "2026-01-01T00:00:06Z", (NOW_MS + 5000, NOW_MS + 6000)),
        ("2026-01-01T00:00:05.0001Z", None, (NOW_MS + 5001, None)),
        ("2026-01-01T00:00:05.0000001Z", None, (NOW_MS + 5000, None)),
        (None, "2026-01-01T00:00:05.0009Z", (None, NOW_MS + 5000)),
        ("2026-01-08T00:00:00Z", None, (NOW_MS + 7 * DAY_MS, None)),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "bad_expires_at"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", (0, 253_402_300_799_999)),
        ("2026-01-08T00:00:00.001Z", None, "bad_deliver_at"),
        ("9999-12-31T23:59:59.999999Z", None, "bad_deliver_at"),
        ("9999-12-31T23:59:59-23:59", None, "bad_deliver_at"),
        ("0000-01-01T00:00:00Z", None, "bad_deliver_at"),
        ("0001-01-01T00:00:00+01:00", None, "bad_deliver_at"),
        ("2026-01-01T00:00:60Z", None, "bad_deliver_at"),
        ("2026-01-01T00:00:05", None, "bad_deliver_at"),
        ("2026-01-01", None, "bad_deliver_at"),
        ("1767225605", None, "bad_deliver_at"),
        ("now", None, "bad_deliver_at"),
        ("２０２６-01-01T00:00:00Z", None, "bad_deliver_at"),
        ("", None, "bad_deliver_at"),
        ("2026-01-01T00:00:00." + "1" * 100_000 + "Z", None, "bad_deliver_at"),
        (None, "", "bad_expires_at"),
        (None, "-0001-01-01T00:00:00Z", "bad_expires_at"),
        (None, "10000-01-01T00:00:00Z", "bad_expires_at"),
        ("2026-01-01T00:00:05Z", "2026-01-01T00:00:05Z", "bad_expires_at"),
        ("2026-01-01T00:00:05Z", "2026-01-01T00:00:04Z", "bad_expires_at"),
    ],
)
def test_the_window_of_an_event(
    deliver_at: str | None, expires_at: str | None, window: str | tuple[int | None, int | None]
) -> None:
    if isinstance(window, tuple):
        assert delivery_window(deliver_at, expires_at, NOW_MS) == window
        return
    with pytest.raises(MalformedEvent) as caught:
        delivery_window(deliver_at, expires_at, NOW_MS)
    assert caught.value.reason == window
    assert len(caught.value.detail) < 300


def test_a_delay_ends_before_records_of_the_delay_ladder_are_deleted() -> None:
    assert limits.DELIVER_AHEAD_S * 1000 < delivery_record._LONGEST_WAIT_MS
    due_ms = NOW_MS + round(limits.DELIVER_AHEAD_S * 1000)
    assert delivery_record.due_at_ms([("due-at", b"%d" % due_ms)], NOW_MS - DAY_MS) == due_ms, "clocks differ"


def event(body: dict[str, object], *headers: tuple[str, bytes]) -> Event:
    fields = {"type": "a.b", "data": {}} | body
    at = Coordinates("events.raw", 0, 1, NOW_MS)
    return decode_event(json.dumps(fields).encode(), headers, at, max_bytes=10_000)


LATER, END = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
WINDOW = NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS


def test_events_carry_both_times_in_fields_headers_and_attributes() -> None:
    structured: dict[str, object] = {"specversion": "1.0", "id": "1", "source": "/s"}
    both = [("deliver-at", LATER.encode()), ("Expires-At", END.encode())]
    binary = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"a.b")]
    ways = [
        event({"deliver_at": LATER, "expires_at": END}),
        event({}, *both),
        event({"deliver_at": "2026-01-05T00:00:00Z", "expires_at": END}, both[0]),
        event({"deliver_at": LATER, "expires_at": END}, ("deliver-at", b""), ("expires-at", b"")),
        event(structured | {"deliverat": LATER, "expiresat": END}),
        event({}, *binary, ("ce_deliverat", LATER.encode()), ("ce_expiresat", END.encode()), ("ce_color", b"red")),
    ]
    for each in ways:
        assert (each.deliver_at_ms, each.expires_at_ms) == WINDOW
    assert ways[-1].attributes == '{"source":"/s","color":"red"}', "they only steer, and are not passed on"
    none = event({"deliver_at": None, "expires_at": None})
    assert (none.deliver_at_ms, none.expires_at_ms) == (None, None)


@pytest.mark.parametrize("value", [1_767_225_600, 1e300, True, [], {}, ["2026-01-02T00:00:00Z"]])
@pytest.mark.parametrize("name", ["deliver_at", "expires_at"])
def test_what_is_no_text_is_no_time(name: str, value: object) -> None:
    with pytest.raises(MalformedEvent) as caught:
        event({name: value})
    assert caught.value.reason == "not_an_event" and name in caught.value.detail


@pytest.mark.parametrize("header", [b"soon", b"2026-01-02", b"\x00", b"9" * 1000])
@pytest.mark.parametrize("name", ["deliver-at", "expires-at"])
def test_a_bad_header_rejects_the_event(name: str, header: bytes) -> None:
    with pytest.raises(MalformedEvent) as caught:
        event({"deliver_at": LATER, "expires_at": END}, (name, header))
    assert caught.value.reason == f"bad_{name.replace('-', '_')}"


def test_a_record_of_a_delivery_carries_both_times() -> None:
    shared = delivery_record.event_headers(event({"deliver_at": LATER, "expires_at": END}), NOW_MS, None, "", 0)
    headers = delivery_record.with_delivery(shared, "dlv_1")
    delivery, _ = delivery_record.decode(b"ep", b"{}", headers)
    assert (delivery.deliver_at_ms, delivery.expires_at_ms) == WINDOW
    again, _ = delivery_record.decode(b"ep", b"{}", delivery_record.encode(delivery))
    assert again == delivery
    assert (delivery.wanted_at_ms, event({}).deliver_at_ms) == (WINDOW[0], None)
    plain = delivery_record.event_headers(event({}), NOW_MS, None, "", 0)
    assert not {"deliver-at", "expires-at"} & {name for name, _ in plain}
