"""`make bench`: all measurements, each beside what it is compared with, as a table and as .cache/bench.json.

`python -m tests.bench report` renders that file into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench import (
    curve,
    curves,
    dispatch,
    everyday,
    fanout,
    growth,
    keys,
    pages,
    performance_page,
    pipeline,
    readmodel,
    registry,
    scale,
    wide,
)
from tests.bench.circumstances import observed
from tests.bench.goals import goals
from tests.bench.results import FILE, load, save
from tests.bench.stage import Run, Stage, stage

PARTS = (
    "dispatch",
    "fanout",
    "everyday",
    "wide",
    "pipeline",
    "registry",
    "growth",
    "curves",
    "scale",
    "keys",
    "readmodel",
)
PICTURE = Path("docs/screens/performance.svg")
console = Console()
R = TypeVar("R")


async def main(options: argparse.Namespace) -> None:
    """Measure what was asked for, store it, and show it."""
    measuring = asyncio.current_task()
    assert measuring is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)  # ends what was started, too
    table = Table("what", "measured", "compared with", "ratio", "goal", title="Hookstream, this machine, this run")
    async with stage() as ready:
        for part in PARTS:
            if part in options.parts:
                with observed() as circumstances:
                    value = await _MEASURES[part](ready, options)
                save(part, value, circumstances)
                _SHOWN[part](table, value)
    console.print(table)
    console.print(f"written to {FILE}", highlight=False)
    if "everyday" in options.parts and options.picture:
        _draw(options.picture)


def report(options: argparse.Namespace) -> None:
    """Render what was measured last into the page, and draw the picture."""
    part = performance_page.rendered(load())
    performance_page.PAGE.write_text(performance_page.replaced(performance_page.PAGE.read_text("utf-8"), part), "utf-8")
    _draw(options.picture or PICTURE)
    console.print(f"written to {performance_page.PAGE}", highlight=False)


def _draw(file: Path) -> None:
    measured = load().everyday
    if measured is not None:
        file.write_text(curve.picture(measured), "utf-8")
        console.print(f"written to {file}", highlight=False)


def _tell(line: str) -> None:
    console.print(line, style="dim", highlight=False)


async def _measure_everyday(ready: Stage, options: argparse.Namespace) -> everyday.Everyday:
    return await everyday.measure(ready, options.runs, rates=options.rates, seconds=options.seconds, tell=_tell)


async def _measure_pipeline(ready: Stage, options: argparse.Namespace) -> list[pipeline.Report]:
    return await _repeated("pipeline", options.runs, lambda: pipeline.measure(ready))


async def _measure_registry(ready: Stage, options: argparse.Namespace) -> list[registry.Report]:
    return await _repeated("registry", options.runs, lambda: registry.measure(ready))


async def _repeated(part: str, runs: int, measure: Callable[[], Awaitable[R]]) -> list[R]:
    reports = []
    for number in range(runs):
        _tell(f"{part}: run {number + 1}")
        reports.append(await measure())
    return reports


#: part → how it is measured
_MEASURES: dict[str, Callable[[Stage, argparse.Namespace], Awaitable[Any]]] = {
    "dispatch": lambda ready, options: dispatch.measure(ready, options.runs, profile=options.profile),
    "fanout": lambda ready, options: fanout.measure(ready, options.runs, profile=options.profile),
    "everyday": _measure_everyday,
    "wide": lambda ready, options: wide.measure(ready, options.endpoints, options.events),
    "pipeline": _measure_pipeline,
    "registry": _measure_registry,
    "growth": lambda ready, options: growth.measure(ready, options.runs, options.sizes, _tell),
    "curves": lambda ready, options: curves.measure(ready, options.runs, _tell),
    "scale": lambda ready, options: scale.measure(ready, options.runs, _tell),
    "keys": lambda ready, options: keys.measure(ready, options.keys),
    "readmodel": lambda ready, options: readmodel.measure(ready, options.attempts, _tell),
}


def _dispatch(table: Table, runs: dict[str, list[Run]]) -> None:
    _pair(table, "dispatch, one core", runs, "role", "session", "bare ClientSession", "≥ 1.1 ×")
    _profiles(runs)


def _fanout(table: Table, runs: dict[str, list[Run]]) -> None:
    _pair(table, "fan-out, one core", runs, "role", "raw", "bare aiokafka", "≥ 0.9 ×")
    crowd = "role beside 100,000 endpoints"
    _pair(table, "fan-out beside 100,000 endpoints", runs, crowd, "role", "beside none", "≥ 0.91 ×")
    _profiles(runs)


def _pair(table: Table, what: str, runs: dict[str, list[Run]], ours: str, other: str, name: str, goal: str) -> None:
    mine = median(run.per_second for run in runs[ours])
    theirs = median(run.per_second for run in runs[other])
    cpu = median(run.cpu_us for run in runs[ours])
    table.add_row(
        what, f"{mine:,.0f}/s ({cpu:.0f} µs CPU each)", f"{name}: {theirs:,.0f}/s", f"{mine / theirs:.2f}", goal
    )


def _profiles(runs: dict[str, list[Run]]) -> None:
    for name, done in runs.items():
        if done[-1].profile:
            console.print(f"[bold]{name}[/]\n{done[-1].profile}", highlight=False)


def _everyday(table: Table, _: everyday.Everyday) -> None:
    for goal in goals(load()):
        if goal.part == "everyday":
            limit = f"{'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}"
            table.add_row(
                goal.what.replace("`", ""),
                performance_page.shown(goal.values, goal.unit).replace("*", ""),
                "",
                "",
                limit,
            )


def _wide(table: Table, spread: wide.Wide) -> None:
    what = f"{spread.events:,} events for {spread.endpoints:,} endpoints each"
    table.add_row(f"{what}: deliveries", f"{spread.per_second:,.0f}/s", "", "", "")
    lag = f"{spread.lag_ms:.0f} ms; {spread.own_lag_ms:.0f} ms where it had a processor"
    table.add_row(f"{what}: the loop is late by, at most", lag, "", "", "≤ 250 ms")
    table.add_row(f"{what}: memory grows by", f"{spread.grown_mib:.0f} MiB", "", "", "≤ 200 MiB")
    ages = f"p50 {spread.other_p50_ms:.0f} ms, slowest {spread.other_slowest_ms:.0f} ms"
    table.add_row(f"{what}: {spread.others} events of another tenant meanwhile", ages, "", "", "")


def _registry(table: Table, reports: list[registry.Report]) -> None:
    for found in reports:
        _registered(table, found)


def _registered(table: Table, found: registry.Report) -> None:
    what = f"{found.endpoints:,} endpoints"
    times = f"p50 {found.create_p50_ms:.1f} ms, p99 {found.create_p99_ms:.1f} ms"
    table.add_row(f"{what}: create through the API", times, "", "", "p50 < 50 ms")
    ready = f"{found.ready_s:.1f} s, {found.rss_mib:.0f} MiB"
    table.add_row(f"{what}: a process with all roles is ready, and weighs", ready, "", "", "< 10 s")


def _keys(table: Table, kept: keys.Report) -> None:
    what = f"{kept.keys:,} idempotency keys"
    disk = f"{kept.disk_bytes:.1f} bytes each, compacted {kept.compacted_bytes:.1f}"
    table.add_row(f"{what}: on disk", disk, "", "", "≤ 64")
    table.add_row(f"{what}: key and value", f"{kept.state_bytes:.1f} bytes each", "", "", "≤ 64")
    memory = f"{kept.written_mib:.0f} MiB after writing, {kept.grown_mib:.0f} MiB in all"
    table.add_row(f"{what}: memory grows by", memory, "", "", "≤ 256 MiB, whatever the number")
    speed = f"{kept.hits_per_s:,.0f}/s found, {kept.misses_per_s:,.0f}/s not there, {kept.writes_per_s:,.0f}/s written"
    table.add_row(f"{what}: lookups", speed, "", "", "≥ 20,000/s")


def _readmodel(table: Table, shown: readmodel.Report) -> None:
    for flow in shown.flows:
        what = f"read model, {flow.database}"
        table.add_row(f"{what}: attempts taken", f"{flow.attempts_per_s:,.0f}/s ({flow.cpu_us:.0f} µs CPU)", "", "", "")
        ages = f"p50 {flow.visible_p50_ms:.0f} ms, p99 {flow.visible_p99_ms:.0f} ms"
        table.add_row(f"{what}: acknowledged → visible at 1,000/s", ages, "", "", "p99 < 1 s")
    small = {found.database: found for found in shown.lists if found.attempts <= readmodel.SMALL}
    for found in shown.lists:
        for name, answer in found.answers.items():
            base = small[found.database].answers[name]
            times = f"{answer.median_ms:.1f} ms, slowest {answer.slowest_ms:.0f} ms"
            what = f"{found.database}, {found.attempts:,} attempts: {name}"
            table.add_row(
                what,
                times,
                f"{readmodel.SMALL:,}: {base.median_ms:.1f} ms",
                f"{answer.median_ms / base.median_ms:.1f}",
                "no growth",
            )
        table.add_row(
            f"{found.database}, {found.attempts:,}: scans in {len(found.plans)} plans",
            str(len(found.scans)),
            "",
            "",
            "0",
        )
    for seen in shown.pages:
        _pages(table, seen)


def _pages(table: Table, shown: pages.Pages) -> None:
    for name, answer in shown.answers.items():
        what = f"{shown.database}, {shown.attempts:,} attempts: page {name}"
        table.add_row(what, f"{answer.median_ms:.0f} ms, slowest {answer.slowest_ms:.0f} ms", "", "", "< 200 ms")


def _pipeline(table: Table, reports: list[pipeline.Report]) -> None:
    for report in reports:
        _run_of_pipeline(table, report)


def _run_of_pipeline(table: Table, report: pipeline.Report) -> None:
    def ages(found: pipeline.Ages | None) -> str:
        return f"p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms" if found else "–"

    one, ten = report.one, report.ten
    if one and ten:
        table.add_row("whole pipeline, 1 endpoint per event", f"{one.per_second:,.0f}/s", "", "", "≥ 3,700/s")
        table.add_row("whole pipeline, 10 endpoints per event", f"{ten.per_second:,.0f}/s", "", "", "≥ 8,600/s")
    if report.http_one and report.http_ten:
        for name, speed, least in (("1 endpoint", report.http_one, 2_800), ("10 endpoints", report.http_ten, 5_700)):
            reached = f"{speed.per_second:,.0f}/s"
            table.add_row(f"whole pipeline over HTTP, {name} per event", reached, "", "", f"≥ {least:,}/s")
    table.add_row("append → received at 150/s", ages(report.at_150), "", "", "p50 ≤ 3.7 ms, p99 ≤ 25 ms")
    table.add_row("append → received at half load", ages(report.half_load), "", "", "p50 ≤ 10 ms, p99 ≤ 50 ms")
    if report.one_key and report.many_keys:
        each = f"{1000 / report.one_key.per_second:.1f} ms for each"
        table.add_row("fifo, one key, receiver at once", each, "", "", "≤ 15 ms + the receiver's time")
        table.add_row("fifo, 2,000 keys", f"{report.many_keys.per_second:,.0f}/s", "", "", "")
    alone, beside = report.healthy_alone, report.healthy_beside_hanging
    if alone and beside:
        ratio = f"{beside.p99 / alone.p99:.2f}"
        table.add_row("8 healthy beside 2 hanging", ages(beside), f"alone: {ages(alone)}", ratio, "p99 ≤ 1.2 ×")
    share = f"{report.retry_late_under_100_ms:.2%} of {report.retries:,}"
    table.add_row("retries released within 100 ms of their time", share, "", "", "≥ 99 %")
    idle = f"{report.idle_percent_of_a_core:.1f} % of a core, all four roles"
    table.add_row("idle", idle, "", "", "< 1 % per role")


#: part → how the console shows it
_SHOWN: dict[str, Callable[[Table, Any], None]] = {
    "dispatch": _dispatch,
    "fanout": _fanout,
    "everyday": _everyday,
    "wide": _wide,
    "pipeline": _pipeline,
    "registry": _registry,
    "growth": growth.show,
    "curves": curves.show,
    "scale": scale.show,
    "keys": _keys,
    "readmodel": _readmodel,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    words = f"of {', '.join(PARTS)}, default: all; or report: render {FILE} into {performance_page.PAGE}"
    parser.add_argument("parts", nargs="*", default=PARTS, help=words)
    parser.add_argument("--profile", action="store_true", help="show where CPU time goes")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many idempotency keys (try 10000000)")
    parser.add_argument("--attempts", type=int, default=100_000, help="in the read model's lists (try 5000000)")
    parser.add_argument("--endpoints", type=int, default=100_000, help="that each wide event matches")
    parser.add_argument("--events", type=int, default=10, help="that are wide (try 100)")
    parser.add_argument("--rates", type=int, nargs="+", default=everyday.RATES, help="events per second (everyday)")
    parser.add_argument("--seconds", type=float, default=everyday.SECONDS, help="at each rate (everyday)")
    words = "endpoints in the registry (growth); each is compared with the first"
    parser.add_argument("--sizes", type=int, nargs="+", default=growth.SIZES, help=words)
    parser.add_argument("--runs", "--rounds", dest="runs", type=int, default=3, help="of each measurement (try 5)")
    parser.add_argument("--picture", type=Path, help=f"draw the curve of everyday into this file (try {PICTURE})")
    given = parser.parse_args()
    if given.parts != ["report"] and set(given.parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}, or report alone")
    return given


if __name__ == "__main__":
    given = _options()
    if given.parts == ["report"]:
        report(given)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(given))
