"""The generated part of docs/performance.md: `python -m tests.bench report` renders `.cache/bench.json` into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.bench.circumstances import Circumstances
from tests.bench.everyday import Everyday, Rate, Side
from tests.bench.goals import Goal, goals
from tests.bench.results import Results, each, ratios, spread
from tests.bench.scale import RATE, Scale
from tests.bench.subjects import Requests

PAGE = Path("docs/performance.md")
_BEGIN, _END = "<!-- begin: written by python -m tests.bench report -->", "<!-- end -->"
#: requests for each event from which a kind of request is shown
_SHOWN_REQUESTS = 0.02


def rendered(results: Results) -> str:
    """All tables, as Markdown."""
    parts = ["### Goals", "", *_goals(goals(results))]
    if results.everyday is not None and results.everyday.rates:
        parts += ["", "### Latency by rate", "", *_latency(results.everyday)]
        parts += ["", "### CPU for each event", "", *_cpu(results.everyday)]
        parts += ["", "### Requests to Kafka", "", *_requests(results.everyday)]
    if results.scale is not None and results.scale.crowds:
        parts += ["", "### More processes", "", *_scale(results.scale)]
    parts += ["", "### Machine and noise", "", *_circumstances(results.circumstances)]
    return "\n".join(parts)


def replaced(page: str, part: str) -> str:
    """The page with another generated part; raises `ValueError` where it lacks the two comments."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no part between {_BEGIN} and {_END}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def number(value: float) -> str:
    """Three digits, and no fraction from 100 on."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shown(values: Iterable[float], unit: str = "") -> str:
    """`least / **median** / greatest`, or the only value; – without values."""
    listed = list(values)
    if not listed:
        return "–"
    low, middle, high = (number(value) for value in spread(listed))
    text = f"{low} / **{middle}** / {high}" if len(listed) > 1 else f"**{middle}**"
    return f"{text} {unit}".strip() if unit != "/s" else f"{text}/s"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _goals(rows: Iterable[Goal]) -> Iterator[str]:
    words = {True: "met", False: "**missed**", None: "not measured"}
    return _table(
        ("what", "goal", "min / **median** / max", "", "command"),
        [(row.what, _limit(row), shown(row.values, row.unit), words[row.met], _command(row.part)) for row in rows],
    )


def _limit(row: Goal) -> str:
    space = "" if row.unit == "/s" else " "
    return f"{'≥' if row.at_least else '≤'} {row.limit:,g}{space}{row.unit}"


def _command(part: str) -> str:
    return f"`python -m tests.bench {part}`"


def _name(rate: Rate) -> str:
    return f"{rate.per_second:,}" + (" (half load)" if rate.half_load else "")


def _latency(report: Everyday) -> Iterator[str]:
    head = ("events/s", "over Kafka: p50", "p99", "bare: p50", "p99", "over HTTP: p50", "p99", "bare: p50", "p99")

    def row(rate: Rate) -> Iterator[str]:
        yield _name(rate)
        for sides in (rate.kafka, rate.bare, rate.http, rate.bare_http):
            yield shown(side.p50_ms for side in sides)
            yield shown(side.p99_ms for side in sides)

    yield from _table(head, [list(row(rate)) for rate in report.rates])
    yield ""
    yield (
        f"Milliseconds. All roles in one process, over HTTP at 150 events/s: p50 {shown(_p50s(report.together))}, p99 "
        f"{shown(side.p99_ms for side in report.together)}. Full rate with one endpoint per event: over Kafka "
        f"{shown(report.full_kafka, '/s')}, over HTTP {shown(report.full_http, '/s')}."
    )


def _p50s(sides: Iterable[Side]) -> list[float]:
    return [side.p50_ms for side in sides]


def _cpu(report: Everyday) -> Iterator[str]:
    head = (
        "events/s",
        "fan-out",
        "dispatch",
        "bare: forward",
        "bare: post",
        "all other roles",
        "broker",
        "bare: broker",
    )
    values: tuple[tuple[str, Callable[[Side], float]], ...] = (
        ("kafka", lambda side: side.spent.cpu_ms[0]),
        ("kafka", lambda side: side.spent.cpu_ms[1]),
        ("bare", lambda side: side.spent.cpu_ms[0]),
        ("bare", lambda side: side.spent.cpu_ms[1]),
        ("kafka", lambda side: side.spent.others_cpu_ms),
        ("kafka", lambda side: side.spent.broker_cpu_ms),
        ("bare", lambda side: side.spent.broker_cpu_ms),
    )
    rows = [
        [_name(rate), *(shown(each(getattr(rate, sides), value)) for sides, value in values)]
        for rate in report.rates
        if rate.kafka
    ]
    yield from _table(head, rows)
    yield ""
    yield "Milliseconds for each event over Kafka. Idle CPU is part of them, which is why they fall as the rate rises."


def _scale(report: Scale) -> Iterator[str]:
    """What more processes deliver, then what events under way notice when one joins or leaves."""
    alone = report.crowds[0]
    head = (
        "processes each of fan-out and dispatch",
        "deliveries/s",
        "their CPU for a delivery, µs",
        "beside one of each",
        "broker, µs",
    )
    yield from _table(
        head,
        [
            (
                str(crowd.processes),
                shown(crowd.per_second),
                shown(crowd.cpu_us),
                shown(ratios(crowd.cpu_us, alone.cpu_us), "×"),
                shown(crowd.broker_us),
            )
            for crowd in report.crowds
        ],
    )
    yield ""
    columns = (f"{RATE} events/s, two processes of each role", "p50, ms", "slowest, ms", "requests sent again")
    yield from _table(
        columns,
        [
            (change.what, shown(change.p50_ms), shown(change.slowest_ms), " / ".join(map(str, change.repeated)))
            for change in report.changes
        ],
    )


def _requests(report: Everyday) -> Iterator[str]:
    def rows() -> Iterator[Sequence[str]]:
        for rate in report.rates:
            for place, role in enumerate(("fan-out", "dispatch")):
                if rate.kafka:
                    yield _name(rate), role, _kinds(rate.kafka[-1].spent.requests[place])

    yield from _table(("events/s", "role", "requests for each event (bytes, partitions of one)"), rows())


def _kinds(kinds: dict[str, Requests]) -> str:
    return ", ".join(
        f"{name} {kind.per_event:.2f} ({kind.bytes:,.0f}, {kind.partitions:.0f})"
        for name, kind in kinds.items()
        if kind.per_event >= _SHOWN_REQUESTS
    )


def _circumstances(parts: dict[str, Circumstances]) -> Iterator[str]:
    head = ("part", "at (UTC)", "commit", "machine", "load before", "the same calculation, ms", "stolen", "command")

    def row(part: str, seen: Circumstances) -> Sequence[str]:
        machine = f"{seen.cores} cores of {seen.processor}, {seen.memory_gib} GiB, Python {seen.python}"
        noise = shown(seen.calculation_ms)
        return (
            part,
            seen.at,
            f"`{seen.commit}`",
            machine,
            f"{seen.load:.1f}",
            noise,
            f"{seen.stolen_percent:.1f} %",
            f"`{seen.command}`",
        )

    yield from _table(head, [row(part, seen) for part, seen in sorted(parts.items())])
