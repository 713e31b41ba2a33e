"""The service at everyday rates, beside bare loops in the same run: latency, CPU, requests to Kafka.

Fan-out and dispatch are processes of their own, and all other roles run in a third one. What they are compared with is
`tests.bench.hops`, over Kafka with two hops and over HTTP with three. A last process has all roles, as `hookstream up`.
`python -m tests.bench everyday`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from tests.bench.stage import Stage
from tests.bench.subjects import Spent, Subject, bare, separate, together
from tests.bench.traffic import Send, Traffic, over_http, over_kafka

RATES = (10, 50, 150, 400, 1000)
#: at which one process with all roles is compared with separate ones
TOGETHER_RATE = 150
#: seconds of a measurement
SECONDS = 12.0
_WARMUP_S = 2.0
#: before and while idle CPU is counted
_CALM_S, _IDLE_S = 5.0, 30.0
#: events of a burst that finds the full rate
_BURST_KAFKA, _BURST_HTTP = 12_000, 5_000
#: a rate above this share of the full rate is not measured: it would be the length of the queue
_SUSTAINED = 0.8

Tell = Callable[[str], None]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one rate; ages in milliseconds from append to received request."""

    p50_ms: float
    p99_ms: float
    events: int
    spent: Spent


class Rate(msgspec.Struct, kw_only=True):
    """All runs at one rate."""

    per_second: int
    #: half of what the first run measured as full rate over Kafka
    half_load: bool = False
    kafka: list[Side] = []
    bare: list[Side] = []
    #: through POST /v1/events
    http: list[Side] = []
    bare_http: list[Side] = []


class Idle(msgspec.Struct, frozen=True):
    """CPU while nothing happens, in percent of a core."""

    roles: float
    broker: float


class Everyday(msgspec.Struct, kw_only=True):
    """What was measured; one entry for each run."""

    seconds: float
    rates: list[Rate] = []
    #: deliveries per second of a burst
    full_kafka: list[float] = []
    full_http: list[float] = []
    #: one process with all roles, over HTTP at `TOGETHER_RATE`
    together: list[Side] = []
    idle: list[Idle] = []


class _Bench:
    def __init__(self, stage: Stage, seconds: float, tell: Tell) -> None:
        self._stage, self._seconds, self._tell = stage, seconds, tell
        self._traffic = Traffic(stage)

    def kafka(self, subject: Subject) -> AbstractAsyncContextManager[Send]:
        return over_kafka(self._stage.bootstrap, subject.prefix)

    def http(self, subject: Subject) -> AbstractAsyncContextManager[Send]:
        return over_http(subject.url, subject.key)

    async def burst(self, subject: Subject, opening: AbstractAsyncContextManager[Send], events: int) -> float:
        """Deliveries per second when events are sent as fast as they are taken; a tenth of them is warm-up."""
        async with opening as send:
            await self._traffic.burst(send, events // 10)
            full = await self._traffic.burst(send, events)
        self._tell(f"full rate: {full:,.0f}/s")
        return full

    async def steady(self, subject: Subject, opening: AbstractAsyncContextManager[Send], rate: float) -> Side:
        """One measurement, after a warm-up."""
        async with opening as send:
            await self._traffic.steady(send, rate, _WARMUP_S)
            await subject.mark()
            ages = await self._traffic.steady(send, rate, self._seconds)
            spent = await subject.spent(len(ages))
        side = Side(p50_ms=ages[len(ages) // 2], p99_ms=ages[int(len(ages) * 0.99)], events=len(ages), spent=spent)
        cpu = f"{sum(spent.cpu_ms):.2f} + {spent.others_cpu_ms:.2f} ms, broker {spent.broker_cpu_ms:.2f} ms each"
        self._tell(f"{rate:.0f}/s: p50 {side.p50_ms:.1f} ms, p99 {side.p99_ms:.1f} ms, CPU {cpu}")
        return side


async def measure(stage: Stage, runs: int, *, rates: Sequence[int], seconds: float, tell: Tell) -> Everyday:
    """Runs of the service, of the bare loops, and of one process with all roles, in turns."""
    stage.pin_others(apart=False)
    bench = _Bench(stage, seconds, tell)
    report = Everyday(seconds=seconds, rates=[Rate(per_second=rate) for rate in rates])
    for number in range(runs):
        tell(f"run {number + 1}: separate processes")
        async with separate(stage) as subject:
            await _ours(bench, report, subject)
        tell(f"run {number + 1}: bare loops")
        async with bare(stage) as subject:
            await _bare(bench, report, subject)
        tell(f"run {number + 1}: one process")
        async with together(stage) as one:
            report.together.append(await bench.steady(one, bench.http(one), TOGETHER_RATE))
            await asyncio.sleep(_CALM_S)
            report.idle.append(Idle(*await one.idle(_IDLE_S)))
            tell(f"idle: {report.idle[-1].roles:.2f} % of a core, broker {report.idle[-1].broker:.2f} %")
    return report


async def _ours(bench: _Bench, report: Everyday, subject: Subject) -> None:
    report.full_kafka.append(await bench.burst(subject, bench.kafka(subject), _BURST_KAFKA))
    report.full_http.append(await bench.burst(subject, bench.http(subject), _BURST_HTTP))
    if not any(rate.half_load for rate in report.rates):
        report.rates.append(Rate(per_second=round(report.full_kafka[0] / 2), half_load=True))
    for rate in report.rates:
        if rate.per_second <= report.full_kafka[0] * _SUSTAINED:
            rate.kafka.append(await bench.steady(subject, bench.kafka(subject), rate.per_second))
        if rate.per_second <= report.full_http[0] * _SUSTAINED:
            rate.http.append(await bench.steady(subject, bench.http(subject), rate.per_second))


async def _bare(bench: _Bench, report: Everyday, subject: Subject) -> None:
    for rate in report.rates:
        if rate.kafka:
            rate.bare.append(await bench.steady(subject, bench.kafka(subject), rate.per_second))
        if rate.http:
            rate.bare_http.append(await bench.steady(subject, bench.http(subject), rate.per_second))
