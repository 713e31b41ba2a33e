"""`make bench`: all measurements, each beside what it is compared with, as a table and as .cache/bench.json."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench import dispatch, everyday, fanout, keys, pages, pipeline, readmodel, registry, wide
from tests.bench.stage import Run, stage

PARTS = ("dispatch", "fanout", "everyday", "wide", "pipeline", "registry", "keys", "readmodel")
#: requests for each event from which a kind of request is shown
_SHOWN_REQUESTS = 0.02
console = Console()


async def main(options: argparse.Namespace) -> None:
    """Measure what was asked for, and show it."""
    table = Table("what", "measured", "compared with", "ratio", "goal", title="Hookstream, this machine, this run")
    results: dict[str, object] = {}
    async with stage() as ready:
        if "dispatch" in options.parts:
            runs = await dispatch.measure(ready, options.rounds, profile=options.profile)
            results["dispatch"] = runs
            _pair(table, "dispatch, one core", runs, "role", "session", "bare ClientSession", "≥ 1.4 ×")
            _profiles(runs)
        if "fanout" in options.parts:
            runs = await fanout.measure(ready, options.rounds, profile=options.profile)
            results["fanout"] = runs
            _pair(table, "fan-out, one core", runs, "role", "raw", "bare aiokafka", "≥ 0.7 ×, ≥ 20,000/s")
            crowd = "role beside 100,000 endpoints"
            _pair(table, "fan-out beside 100,000 endpoints", runs, crowd, "role", "beside none", "≥ 0.91 ×")
            _profiles(runs)
        if "everyday" in options.parts:
            rates = await everyday.measure(ready, options.rounds, rates=options.rates)
            results["everyday"] = rates
            for rate in rates:
                _rate(table, rate)
        if "wide" in options.parts:
            spread = await wide.measure(ready, options.endpoints, options.events)
            results["wide"] = spread
            _wide(table, spread)
        if "pipeline" in options.parts:
            report = await pipeline.measure(ready)
            results["pipeline"] = report
            _pipeline(table, report)
        if "registry" in options.parts:
            found = await registry.measure(ready)
            results["registry"] = found
            _registry(table, found)
        if "keys" in options.parts:
            kept = await keys.measure(ready, options.keys)
            results["keys"] = kept
            _keys(table, kept)
        if "readmodel" in options.parts:
            shown = await readmodel.measure(ready, options.attempts, lambda line: console.print(line, style="dim"))
            results["readmodel"] = shown
            _readmodel(table, shown)
            for seen in shown.pages:
                _pages(table, seen)
    console.print(table)
    out = Path(".cache/bench.json")
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    console.print(f"written to {out}", highlight=False)


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


def _rate(table: Table, rate: everyday.Rate) -> None:
    def middle(sides: list[everyday.Side], value: Callable[[everyday.Side], float]) -> float:
        return median(map(value, sides))

    for what, sides in (("over Kafka", rate.kafka), ("over HTTP", rate.http)):
        p50, p99 = (middle(sides, each) for each in (_p50, _p99))
        bare_p50, bare_p99 = (middle(rate.bare, each) for each in (_p50, _p99))
        table.add_row(
            f"{rate.per_second} events/s {what}: append → received",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            f"two bare hops: {bare_p50:.1f} ms, {bare_p99:.1f} ms",
            f"{p50 / bare_p50:.2f}, {p99 / bare_p99:.2f}",
            "≤ 1.5 ×, ≤ 2 ×" if sides is rate.kafka else "≤ 2 ×",
        )
    own, bare = middle(rate.kafka, _cpu), middle(rate.bare, _cpu)
    table.add_row(
        f"{rate.per_second} events/s: CPU of fan-out and dispatch",
        f"{own:.2f} ms each",
        f"{bare:.2f} ms each",
        f"{own / bare:.2f}",
        "≤ 2 ×",
    )
    broker = f"{middle(rate.kafka, _broker):.2f} ms each"
    table.add_row(f"{rate.per_second} events/s: CPU of the broker", broker, f"{middle(rate.bare, _broker):.2f} ms each")
    for role, requests in zip(("fan-out", "dispatch"), rate.kafka[-1].requests, strict=True):
        numbers = ", ".join(f"{name} {number:.2f}" for name, number in requests.items() if number >= _SHOWN_REQUESTS)
        table.add_row(f"{rate.per_second} events/s: requests of {role} for each event", numbers)


def _p50(side: everyday.Side) -> float:
    return side.p50_ms


def _p99(side: everyday.Side) -> float:
    return side.p99_ms


def _cpu(side: everyday.Side) -> float:
    return sum(side.cpu_ms)


def _broker(side: everyday.Side) -> float:
    return side.broker_cpu_ms


def _wide(table: Table, spread: wide.Wide) -> None:
    what = f"{spread.events:,} events for {spread.endpoints:,} endpoints each"
    table.add_row(f"{what}: deliveries", f"{spread.per_second:,.0f}/s", "", "", "")
    lag = f"{spread.lag_ms:.0f} ms; {spread.own_lag_ms:.0f} ms where it had a processor"
    table.add_row(f"{what}: the loop is late by, at most", lag, "", "", "≤ 250 ms")
    table.add_row(f"{what}: memory grows by", f"{spread.grown_mib:.0f} MiB", "", "", "≤ 200 MiB")
    ages = f"p50 {spread.other_p50_ms:.0f} ms, slowest {spread.other_slowest_ms:.0f} ms"
    table.add_row(f"{what}: {spread.others} events of another tenant meanwhile", ages, "", "", "")


def _registry(table: Table, found: registry.Report) -> None:
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


def _pages(table: Table, shown: pages.Pages) -> None:
    for name, answer in shown.answers.items():
        what = f"{shown.database}, {shown.attempts:,} attempts: page {name}"
        table.add_row(what, f"{answer.median_ms:.0f} ms, slowest {answer.slowest_ms:.0f} ms", "", "", "< 200 ms")


def _pipeline(table: Table, report: pipeline.Report) -> None:
    def ages(found: pipeline.Ages | None) -> str:
        return f"p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms" if found else "–"

    one, ten = report.one, report.ten
    if one and ten:
        table.add_row("whole pipeline, 1 endpoint per event", f"{one.per_second:,.0f}/s", "", "", "≥ 3,700/s")
        table.add_row("whole pipeline, 10 endpoints per event", f"{ten.per_second:,.0f}/s", "", "", "≥ 8,600/s")
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--profile", action="store_true", help="show where CPU time goes")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many idempotency keys (try 10000000)")
    parser.add_argument("--attempts", type=int, default=100_000, help="in the read model's lists (try 5000000)")
    parser.add_argument("--endpoints", type=int, default=100_000, help="that each wide event matches")
    parser.add_argument("--events", type=int, default=10, help="that are wide (try 100)")
    parser.add_argument("--rates", type=int, nargs="+", default=everyday.RATES, help="events per second (everyday)")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if set(given.parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given))
