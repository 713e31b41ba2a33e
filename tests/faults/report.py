"""The table of many rounds, fault by fault, as docs/fault-testing.md shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tests.faults.rounds import Round

_COLUMNS = (
    "rounds",
    "kills",
    "events",
    "deliveries",
    "lost",
    "sent again",
    "bound",
    "worst round",
    "ended twice",
    "overlaps",
    "forked",
    "broken",
)


def line(played: Round, number: int, total: int) -> str:
    """One round in one line."""
    verdict = played.verdict
    broken = f"  BROKEN: {len(verdict.broken)}" if verdict.broken else ""
    return (
        f"{number:>4}/{total} seed {played.seed:<10} {' + '.join(played.faults):<34} {played.seconds:5.1f} s  "
        f"{verdict.events} events, {verdict.deliveries} deliveries, {verdict.dead} dead, lost {verdict.lost}, "
        f"sent again {verdict.sent_again} of {verdict.bound}{broken}"
    )


def record(played: Round) -> dict[str, Any]:
    """A round as JSON."""
    return asdict(played)


def table(rounds: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each fault; a round with two faults is in the row of both, and once in the sum."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    played = list(rounds)
    for each in played:
        for fault in set(each["faults"]):
            rows[fault].append(each)
    lines = ["| fault | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    lines += [_row(fault, rows[fault]) for fault in sorted(rows)]
    lines.append(_row("**all**", played))
    return "\n".join(lines)


def _row(name: str, rounds: list[dict[str, Any]]) -> str:
    def total(field: str) -> int:
        return sum(each["verdict"][field] for each in rounds)

    worst = max((each["verdict"]["sent_again"] / max(1, each["verdict"]["deliveries"]) for each in rounds), default=0)
    cells = [
        len(rounds),
        sum(each["kills"] for each in rounds),
        total("events"),
        total("deliveries"),
        total("lost"),
        total("sent_again"),
        total("bound"),
        f"{worst:.1%}",
        *(sum(each["verdict"].get(name, 0) for each in rounds) for name in ("ended_twice", "overlaps", "forked")),
        sum(bool(each["verdict"]["broken"]) for each in rounds),
    ]
    return f"| {name} | " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"
