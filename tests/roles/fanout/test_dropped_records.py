"""Rejected records: the reason follows the original headers, and a record that is too large is truncated."""

from __future__ import annotations

from app.core.errors import MalformedEvent
from app.roles.fanout.dropped_records import rejected_record
from tests.roles.fanout.test_plan import RULES, Record


def test_a_rejected_record_has_reason_and_coordinates_behind_its_own_headers() -> None:
    original = (("tenant", b"acme"), ("rejected-reason", b"an earlier one"), ("odd", b"\xff"))
    record = Record(9, b"x", original, 55)
    _, value, headers = rejected_record(record, MalformedEvent("not_json", "\u00e4" * 2000), RULES, 3)
    assert value == b"x"
    assert headers[:3] == list(original)
    detail = headers.pop(4)
    assert detail[0] == "rejected-detail"
    assert detail[1] == ("\u00e4" * 512).encode()
    assert headers[3:] == [
        ("rejected-reason", b"not_json"),
        ("rejected-topic", b"events.raw"),
        ("rejected-partition", b"3"),
        ("rejected-offset", b"9"),
        ("rejected-timestamp", b"55"),
    ]


def test_a_rejected_record_that_would_not_fit_is_cut() -> None:
    huge = Record(9, b"x" * 5_000_000, (("big", b"h" * 900_000),), 55)
    _, value, headers = rejected_record(huge, MalformedEvent("too_large", "5 MB"), RULES, 3)
    assert len(value or b"") + sum(len(name) + len(text) for name, text in headers) < 1_000_000
    assert ("rejected-truncated-from", b"5900020") in headers
    fits = Record(9, b"x" * 900_000, (), 55)
    assert rejected_record(fits, MalformedEvent("too_large", ""), RULES, 3)[1] == fits.value
