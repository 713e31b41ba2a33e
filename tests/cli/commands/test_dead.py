"""Dead deliveries by cause."""

from __future__ import annotations

from typing import Any

from app.cli.commands.dead import grouped


def row(number: int, **fields: Any) -> dict[str, Any]:
    """One as the API returns it."""
    return {
        "id": f"dlv_{number}",
        "endpoint": "ep_1",
        "status": 503,
        "result": "http_5xx",
        "created_at": f"2026-11-27T10:00:{number:02}Z",
        "event_type": "a.b",
    } | fields


def test_dead_deliveries_are_counted_by_endpoint_and_last_outcome() -> None:
    rows = [row(3), row(2, event_type="a.c"), row(1, status=None, result="timeout"), row(4, endpoint="ep_2")]
    first, *others = grouped(rows)
    assert first == {
        "count": 2,
        "endpoint": "ep_1",
        "last": 503,
        "oldest": "2026-11-27T10:00:02Z",
        "newest": "2026-11-27T10:00:03Z",
        "types": ["a.b", "a.c"],
        "example": "dlv_3",
    }
    assert [(each["endpoint"], each["last"]) for each in others] == [("ep_1", "timeout"), ("ep_2", 503)]


def test_only_a_few_types_are_named() -> None:
    (group,) = grouped([row(number, event_type=f"t{number}") for number in range(5)])
    assert group["types"] == ["t0", "t1", "t2", "…"]
