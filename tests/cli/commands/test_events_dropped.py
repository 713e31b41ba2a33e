"""`--since`: a span of time before now, or a time."""

from __future__ import annotations

import pytest
import typer

from app.cli.commands.events_dropped import since_of, tenant_of
from tests.fakes.log import MemoryRecord

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "since_ms"),
    [
        ("90s", NOW - 90_000),
        ("30m", NOW - 1_800_000),
        ("12h", NOW - 43_200_000),
        ("7d", NOW - 604_800_000),
        ("99999999d", 0),
        ("2026-01-31T08:00:00Z", 1_769_846_400_000),
        ("2026-01-31T09:00+01:00", 1_769_846_400_000),
        ("1900-01-01T00:00:00Z", 0),
        ("1w", NOW - 604_800_000),
        ("begin", 0),
        ("now", NOW),
    ],
)
def test_a_span_or_a_time(text: str, since_ms: int) -> None:
    assert since_of(text, NOW) == since_ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "5", "-5m", "5 m", "2026-01-31", "2026-01-31T08:00:00", "2026-02-30T08:00:00Z"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        since_of(text, NOW)


REJECTED = [
    ("rejected-reason", b"schema"),
    ("rejected-detail", b"/data: is no object"),
    ("rejected-topic", b"events.raw"),
    ("rejected-partition", b"0"),
    ("rejected-offset", b"7"),
    ("rejected-timestamp", b"1800000000000"),
]


@pytest.mark.parametrize(
    ("headers", "value", "tenant"),
    [
        ([("tenant", b"acme")], b"no event", "acme"),
        ([], b'{"type": "a.b", "tenant": "acme", "data": 1}', "acme"),
        ([("tenant", b"header")], b'{"type": "a.b", "tenant": "body", "data": 1}', "header"),
        ([], b'{"type": "a.b", "tenant": 5, "data": 1}', None),
        ([("tenant", b"\xff")], b"{}", None),
    ],
)
def test_the_tenant_of_a_rejected_record_is_in_its_header_or_body(
    headers: list[tuple[str, bytes]], value: bytes, tenant: str | None
) -> None:
    record = MemoryRecord("events.rejected", 0, 3, 1_800_000_000_000, None, value, [*headers, *REJECTED])
    assert tenant_of(record) == tenant
