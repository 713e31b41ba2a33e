"""What a run shows: a line of progress, the tables at its end, JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

from tests.soak.judgement import MIB, NOT_JUDGED, Growth, Outcome, Sample, Shift

_COUNTS = ("events", "deliveries", "requests", "delivered", "dead", "lost", "sent_again", "bound", "overlaps")
#: sentences about what was broken that are printed; JSON has all
_SHOWN = 20


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02}"


def progress(
    at: float, load_s: float, doing: str, counts: tuple[int, int, int], sizes: Mapping[str, Sequence[Sample]]
) -> str:
    """One line; counts: events, attempts, and deliveries that a judge waits for."""
    events, attempts, open_ = counts
    memory = "  ".join(f"{short(name)} {samples[-1].rss // MIB}" for name, samples in sizes.items() if samples)
    waits = f", {open_:,} open" if open_ else ""
    return f"{clock(at):>6} of {clock(load_s)}  {doing}: {events:,} events, {attempts:,} attempts{waits}; MiB: {memory}"


def short(name: str) -> str:
    """The name of a process with several roles is that of its last one."""
    return name.rsplit("+", 1)[-1]


def tables(outcome: Outcome) -> str:
    """Markdown, as docs/fault-testing.md shows it, and the verdict."""
    cut = ", interrupted" if outcome.interrupted else ""
    lines = [
        f"seed {outcome.seed}, {outcome.minutes:.1f} minutes{cut}, {outcome.appended_per_s:.1f} events/s of "
        f"{outcome.rate:g}, {outcome.restarts} restarts, {outcome.kills} kills",
        "",
        "| process | lives | MiB first, last, most | slope MiB/h | memory | descriptors | threads | connections |",
        "|---" * 8 + "|",
        *map(_process, outcome.growths),
        "",
        "| shift | " + " | ".join(name.replace("_", " ") for name in _COUNTS) + " | replays | broken |",
        "|---" * (len(_COUNTS) + 3) + "|",
        *map(_shift, outcome.shifts),
        "",
        _end(outcome),
    ]
    broken = outcome.broken
    lines += [f"broken: {sentence}" for sentence in broken[:_SHOWN]]
    if len(broken) > _SHOWN:
        lines.append(f"broken: {len(broken) - _SHOWN} more, see the JSON")
    lines.append("FAILED" if broken else "passed")
    return "\n".join(lines)


def _process(growth: Growth) -> str:
    found = growth.slope
    slope = f"{found.per_hour:+.2f} ± {found.error:.2f} over {found.minutes} min" if found else NOT_JUDGED
    rises = (NOT_JUDGED if rise is None else f"{rise:+}" for rise in (growth.descriptors, growth.threads))
    sizes = f"{growth.rss_first:.0f}, {growth.rss_last:.0f}, {growth.rss_most:.0f}"
    cells = (growth.name, growth.lives, sizes, slope, growth.memory, *rises, growth.connections)
    return "| " + " | ".join(map(str, cells)) + " |"


def _shift(shift: Shift) -> str:
    owed, ended = (sum(getattr(replay, name) for replay in shift.replays) for name in ("owed", "ended"))
    cells = [f"{shift.total(name):,}" for name in _COUNTS] + [f"{ended:,} of {owed:,}", str(len(shift.broken))]
    return f"| {shift.number} | " + " | ".join(cells) + " |"


def _end(outcome: Outcome) -> str:
    lag = "not read" if outcome.lag is None else f"{sum(outcome.lag.values())} records"
    waiting = "not read" if outcome.waiting is None else outcome.waiting
    open_ = "not read" if outcome.connections is None else outcome.connections
    return f"at the end: consumer lag {lag}, retries waiting {waiting}, connections to receivers {open_}"


def record(outcome: Outcome, sizes: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Everything, with all samples as the fields of `Sample` in their order."""
    samples = {name: [[round(each.at, 1), *astuple(each)[1:]] for each in of] for name, of in sizes.items()}
    return {**asdict(outcome), "broken": outcome.broken, "samples": samples}
