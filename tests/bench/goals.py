"""The goals of speed, and what `.cache/bench.json` says of them. Ratios are taken within each run, then summarised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from tests.bench import curves, growth, pipeline
from tests.bench.everyday import TOGETHER_RATE, Everyday, Rate, Side
from tests.bench.results import Results, each, ratios

#: parallel-consumer-vertx 0.5.3 in bulk: CPU of a delivery, in microseconds. Measured by us on two cores of the same
#: kind of machine, see docs/performance.md
PARALLEL_CONSUMER_US = 236.0
#: deliveries per second over HTTP of the better peer, for 1 and 10 endpoints per event; measured likewise
BETTER_PEER = (708.0, 1425.0)
_LATENCY_RATES = (10, 150)
_CPU_RATES = (10, 50, 150, 400)


class Goal(NamedTuple):
    """One value that should not be above, or not below, a limit."""

    what: str
    limit: float
    unit: str
    #: of each run; empty: not measured
    values: Sequence[float]
    #: of the bench
    part: str
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median meets the limit; None: not measured."""
        if not self.values:
            return None
        middle = round(median(self.values), 9)
        return middle >= self.limit if self.at_least else middle <= self.limit


def goals(results: Results) -> list[Goal]:
    """All goals, in the order of the page."""
    return [*_everyday(results.everyday or Everyday(seconds=0)), *_bulk(results), *_size(results)]


def _p50(side: Side) -> float:
    return side.p50_ms


def _p99(side: Side) -> float:
    return side.p99_ms


def _cpu(side: Side) -> float:
    return sum(side.spent.cpu_ms)


def _everyday(report: Everyday) -> Iterator[Goal]:
    rates = {rate.per_second: rate for rate in report.rates if not rate.half_load}
    for per_second in _LATENCY_RATES:
        rate = rates.get(per_second, Rate(per_second=per_second))
        what = f"append → request received, {per_second} events/s"
        beside = "beside the bare loop of two hops"
        yield Goal(f"{what}: p50 {beside}", 1.5, "×", _beside(rate.kafka, rate.bare, _p50), "everyday")
        yield Goal(f"{what}: p99 {beside}", 2, "×", _beside(rate.kafka, rate.bare, _p99), "everyday")
        what = f"`POST /v1/events` → request received, {per_second} events/s"
        beside = "beside the bare loop of three hops"
        yield Goal(f"{what}: p50 {beside}", 2, "×", _beside(rate.http, rate.bare_http, _p50), "everyday")
        yield Goal(f"{what}: p99 {beside}", 2, "×", _beside(rate.http, rate.bare_http, _p99), "everyday")
    for per_second in _CPU_RATES:
        rate = rates.get(per_second, Rate(per_second=per_second))
        what = f"CPU of fan-out and dispatch, {per_second} events/s, beside the bare loop"
        yield Goal(what, 2, "×", _beside(rate.kafka, rate.bare, _cpu), "everyday")
    separate = rates.get(TOGETHER_RATE, Rate(per_second=TOGETHER_RATE)).http
    what = f"all roles in one process, {TOGETHER_RATE} events/s over HTTP: p99 beside separate processes"
    yield Goal(what, 3, "×", _beside(report.together if separate else [], separate, _p99), "everyday")
    yield from _half_load(next((rate for rate in report.rates if rate.half_load), Rate(per_second=0)))
    idle = each(report.idle, lambda idle: idle.roles)
    yield Goal("idle, all roles in one process", 1, "% of a core", idle, "everyday")
    idle = each(report.idle, lambda idle: idle.broker)
    yield Goal("idle, its broker", 3, "% of a core", idle, "everyday")


def _beside(ours: Sequence[Side], others: Sequence[Side], value: Callable[[Side], float]) -> list[float]:
    return ratios(each(ours, value), each(others, value))


def _half_load(rate: Rate) -> Iterator[Goal]:
    what = f"half load ({rate.per_second:,} events/s)" if rate.per_second else "half load"
    yield Goal(f"{what}: p50 beside the bare loop", 10, "×", _beside(rate.kafka, rate.bare, _p50), "everyday")
    own = ratios(each(rate.kafka, _p99), each(rate.kafka, _p50))
    yield Goal(f"{what}: p99 beside p50", 3, "×", own, "everyday")


def _bulk(results: Results) -> Iterator[Goal]:
    speeds = {name: each(runs, lambda run: run.per_second) for name, runs in results.dispatch.items()}
    own = ratios(speeds.get("role", []), speeds.get("session", []))
    yield Goal("dispatch, one core, in bulk, beside a bare `ClientSession`", 1.1, "×", own, "dispatch", at_least=True)
    cpu = each(results.dispatch.get("role", []), lambda run: PARALLEL_CONSUMER_US / run.cpu_us)
    what = "dispatch in bulk: deliveries per CPU second beside parallel-consumer-vertx"
    yield Goal(what, 1.2, "×", cpu, "dispatch", at_least=True)
    speeds = {name: each(runs, lambda run: run.per_second) for name, runs in results.fanout.items()}
    own = ratios(speeds.get("role", []), speeds.get("raw", []))
    yield Goal("fan-out, one core, beside bare aiokafka", 0.9, "×", own, "fanout", at_least=True)
    for what, peer, name in (("1 endpoint", BETTER_PEER[0], "http_one"), ("10 endpoints", BETTER_PEER[1], "http_ten")):
        reached = [speed.per_second for speed in _speeds(results.pipeline, name)]
        limit = round(4 * peer, -2)
        yield Goal(f"whole machine over HTTP, {what} per event", limit, "/s", reached, "pipeline", at_least=True)


def _speeds(reports: Sequence[pipeline.Report], name: str) -> list[pipeline.Speed]:
    return [speed for report in reports if (speed := getattr(report, name)) is not None]


def _size(results: Results) -> Iterator[Goal]:
    crowd, alone = "role beside 100,000 endpoints", results.fanout.get("role", [])
    cost = ratios(
        each(results.fanout.get(crowd, []), lambda run: run.cpu_us),
        each(alone if crowd in results.fanout else [], lambda run: run.cpu_us),
    )
    yield Goal("fan-out beside 100,000 endpoints: CPU of a delivery beside none", 1.1, "×", cost, "fanout")
    ready = each(results.registry, lambda report: report.ready_s)
    yield Goal("100,000 endpoints: a process with all roles is ready", 10, "s", ready, "registry")
    weight = each(results.registry, lambda report: report.rss_mib)
    yield Goal("100,000 endpoints: memory of that process", 400, "MiB", weight, "registry")
    yield from _million(results.growth)
    yield from _curves(results.curves or curves.Curves())
    hanging = [
        report.healthy_beside_hanging.p99 / report.healthy_alone.p99
        for report in results.pipeline
        if report.healthy_alone and report.healthy_beside_hanging
    ]
    yield Goal("20 % of endpoints hanging: p99 of the others beside none hanging", 1.2, "×", hanging, "pipeline")


def _million(crowds: Sequence[growth.Crowd]) -> Iterator[Goal]:
    """The largest registry beside the smallest; its values are of one start, the cost of deliveries of all bursts."""
    most = [max(crowds, key=lambda crowd: crowd.endpoints)] if len(crowds) > 1 else []
    what = "1,000,000 endpoints"
    yield Goal(f"{what}: a process with all roles is ready", 60, "s", [crowd.ready_s for crowd in most], "growth")
    yield Goal(f"{what}: memory of that process", 1536, "MiB", [crowd.ready_mib for crowd in most], "growth")
    few = [ratio for crowd in most for ratio in ratios(crowd.few_us, crowds[0].few_us)]
    yield Goal(f"{what}: CPU of a delivery to 1,000 of them, beside 1,000 in all", 1.2, "×", few, "growth")
    spread = [ratio for crowd in most for ratio in ratios(crowd.spread_us, crowds[0].spread_us)]
    yield Goal(f"{what}: CPU of a delivery spread over all, beside 1,000 in all", 1.2, "×", spread, "growth")


def _curves(seen: curves.Curves) -> Iterator[Goal]:
    """The costliest point of each curve, in each run: beside the bare loop, or beside the first point."""
    beside_bare = [ratios(point.ours_us, point.bare_us) for point in seen.payloads]
    what = "payloads of 0.2 to 200 KB: CPU of a delivery beside the bare loop's, for the costliest size"
    yield Goal(what, 1.1, "×", [max(run) for run in zip(*beside_bare, strict=True)], "curves")
    what = "1 to 1,000 endpoints per event: CPU of a delivery beside one endpoint"
    yield Goal(what, 1.1, "×", _highest([point.ours_us for point in seen.matches]), "curves")
    what = "1,000,000 waiting retries: CPU of a delivery beside none"
    yield Goal(what, 1.1, "×", _highest([point.ours_us for point in seen.waiting]), "curves")
    for what, ages in (
        ("one endpoint flooded with 100 times its events", seen.flood.one_endpoint),
        ("one tenant flooding its ten endpoints with as much", seen.flood.one_tenant),
    ):
        p99 = each(ages, lambda age: age.p99)
        alone = ratios(p99, each(seen.flood.alone, lambda age: age.p99))
        yield Goal(f"{what}: p99 of the others beside no load", 1.2, "×", alone, "curves")
        spread = ratios(p99, each(seen.flood.spread, lambda age: age.p99))
        yield Goal(f"{what}: p99 of the others beside the same load, spread evenly", 1.2, "×", spread, "curves")


def _highest(points: Sequence[Sequence[float]]) -> list[float]:
    """The greatest ratio of a later point to the first one, for each run."""
    return [max(run[1:]) / run[0] for run in zip(*points, strict=True)]
