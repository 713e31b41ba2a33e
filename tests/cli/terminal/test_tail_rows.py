"""Rows of `hookstream tail`."""

from __future__ import annotations

import pytest

from app.cli.terminal.tail_rows import TailFilter, attempt_row, delivery_row, event_row, line
from app.core.records.attempt import Attempt, encode
from tests.fakes.log import MemoryRecord


def record(value: bytes, *, timestamp: int = 0, partition: int = 0, offset: int = 0) -> MemoryRecord:
    """One without headers."""
    return MemoryRecord(
        topic="t", partition=partition, offset=offset, timestamp=timestamp, key=b"k", value=value, headers=[]
    )


ATTEMPT = Attempt(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="user.created",
    endpoint_id="ep_1",
    tenant="acme",
    mode="live",
    attempt=2,
    trigger="retry",
    state="dead",
    result="http_5xx",
    status=503,
    started_at="2026-11-27T10:00:00Z",
    duration_ms=12.3,
    error="The receiver answered 503.\x1b[2J\nforged line",
)


def test_an_attempt_is_one_line_without_control_characters() -> None:
    row = attempt_row(record(value=encode(ATTEMPT), timestamp=0))
    assert row is not None
    shown = line(row)
    assert shown.startswith("1970-01-01 00:00:00 acme/live user.created event=evt_1 delivery=dlv_1 endpoint=ep_1")
    assert "state=dead status=503 result=http_5xx" in shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({}, True),
        ({"tenant": "acme", "mode": "live", "state": "dead", "endpoint": "ep_1", "event": "evt_1"}, True),
        ({"tenant": "other"}, False),
        ({"type": "user.*"}, True),
        ({"type": "order.*"}, False),
        ({"result": "503"}, True),
        ({"result": "5xx"}, True),
        ({"result": "http_5xx"}, True),
        ({"result": "timeout"}, False),
    ],
)
def test_filters(fields: dict[str, str], passes: bool) -> None:
    row = attempt_row(record(value=encode(ATTEMPT)))
    assert row is not None
    assert TailFilter(**fields).passes(row) is passes


def test_records_of_other_programs_are_left_out() -> None:
    assert attempt_row(record(value=b"\xff")) is None
    assert attempt_row(record(value=b"[" * 100_000)) is None
    assert delivery_row(record(value=b"{}")) is None


def test_an_event_that_cannot_be_parsed_is_shown_by_its_place() -> None:
    row = event_row(record(value=b"\xff\xfe", partition=3, offset=7), "events.raw", 1000)
    assert row is not None and row["place"] == "3:7"
