"""What a delivery costs as payloads, matches and waiting retries grow, and how others fare while one is flooded.

The service runs in three processes, as in `everyday`. Payloads are compared with the bare loops of the same run, which
copy and post the same bytes. `python -m tests.bench curves`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from rich.table import Table

from app.core.model.delivery import Delivery
from app.core.records import delivery as delivery_record
from app.core.topics.names import RUNGS, TopicName
from tests.bench.bulk import Entry, fill
from tests.bench.pipeline import Ages, event
from tests.bench.stage import Stage
from tests.bench.subjects import Separate, Spent, Subject, bare, separate
from tests.bench.traffic import Traffic, at_rate, over_kafka
from tests.e2e.harness import Service

#: bytes of an event; each is compared with the first
PAYLOADS = (800, 200, 4_000, 20_000, 100_000, 200_000)
#: endpoints that get each event; each is compared with the first
MATCHES = (1, 10, 100, 1_000)
WAITING = 1_000_000
_DELIVERIES = 6_000
#: bytes of events in a burst at most
_BURST_BYTES = 200_000_000
#: events per second for each of some endpoints, and by how much one is flooded
_EACH, _ENDPOINTS, _FLOOD = 4, 10, 100
_STEADY_S = 10.0

Tell = Callable[[str], None]


class Point(msgspec.Struct, kw_only=True):
    """CPU of fan-out and dispatch for each delivery, in microseconds; one value for each run."""

    at: int
    ours_us: list[float] = []
    bare_us: list[float] = []


class Flood(msgspec.Struct, kw_only=True):
    """Ages of the others' events; one value for each run."""

    alone: list[Ages] = []
    #: beside as many deliveries as in a flood, spread evenly over other tenants
    spread: list[Ages] = []
    one_endpoint: list[Ages] = []
    one_tenant: list[Ages] = []


class Curves(msgspec.Struct, kw_only=True):
    """What was measured."""

    payloads: list[Point] = []
    matches: list[Point] = []
    #: none, and `WAITING`
    waiting: list[Point] = []
    flood: Flood = msgspec.field(default_factory=Flood)


class _Way(NamedTuple):
    """Where bursts go, and what counts their cost."""

    traffic: Traffic
    subject: Subject
    bootstrap: str

    async def burst(
        self, tenant: str, events: int, *, size: int = PAYLOADS[0], matches: int = 1, others: bool = False
    ) -> float:
        """Microseconds of CPU for each delivery; `others`: with those of the third process."""
        async with over_kafka(self.bootstrap, self.subject.prefix) as send:
            await self.traffic.burst(send, events // 10 or 1, tenants=[tenant], size=size, matches=matches)
            await self.subject.mark()
            await self.traffic.burst(send, events, tenants=[tenant], size=size, matches=matches)
            await asyncio.sleep(1.0)  # attempts are stored, offsets committed
            spent: Spent = await self.subject.spent(events * matches)
        return (sum(spent.cpu_ms) + (spent.others_cpu_ms if others else 0.0)) * 1000


async def measure(stage: Stage, runs: int, tell: Tell) -> Curves:
    """All curves, each run on a service of its own."""
    stage.pin_others(apart=False)
    curves = Curves(
        payloads=[Point(at=size) for size in PAYLOADS],
        matches=[Point(at=number) for number in MATCHES],
        waiting=[Point(at=0), Point(at=WAITING)],
    )
    for number in range(runs):
        tell(f"run {number + 1}: the service")
        async with separate(stage) as subject:
            await _ours(stage, subject, curves, tell)
        tell(f"run {number + 1}: bare loops")
        async with bare(stage) as loops:
            way = _Way(Traffic(stage), loops, stage.bootstrap)
            await _payloads(way, curves, "bare_us", tell)
    return curves


async def _ours(stage: Stage, subject: Separate, curves: Curves, tell: Tell) -> None:
    way = _Way(Traffic(stage), subject, stage.bootstrap)
    crowds = {f"wide{number}": number for number in MATCHES[1:]}
    crowds |= {f"{kind}{number}": 1 for kind in ("calm", "busy") for number in range(_ENDPOINTS)}
    crowds |= {"flooded": 1, "flooding": _ENDPOINTS}
    for tenant, endpoints in crowds.items():
        await register(subject.api, tenant, [f"{stage.receiver}/{number}" for number in range(endpoints)])
    await _payloads(way, curves, "ours_us", tell)
    for point in curves.matches:
        tenant = "one" if point.at == 1 else f"wide{point.at}"
        point.ours_us.append(await way.burst(tenant, _DELIVERIES // point.at, matches=point.at))
        tell(f"{point.at:,} endpoints for each event: {point.ours_us[-1]:.0f} µs")
    await _floods(way, curves.flood, tell)
    for point in curves.waiting:
        if point.at:
            await fill_delays(stage.bootstrap, subject.prefix, point.at)
        point.ours_us.append(await way.burst("one", _DELIVERIES, others=True))
        tell(f"{point.at:,} waiting retries: {point.ours_us[-1]:.0f} µs")


async def register(api: Service, tenant: str, urls: Sequence[str]) -> None:
    """Endpoints of one tenant that get all of its events."""
    key = await api.key(tenant)
    for url in urls:
        answer = await api.ask("POST", "/v1/webhooks", {"url": url, "events": ["*"]}, key=key)
        assert answer.status == 201, answer


async def _payloads(way: _Way, curves: Curves, side: str, tell: Tell) -> None:
    for point in curves.payloads:
        us = await way.burst("one", min(_DELIVERIES, _BURST_BYTES // point.at), size=point.at)
        getattr(point, side).append(us)
        tell(f"events of {point.at:,} bytes: {us:.0f} µs")


async def _floods(way: _Way, flood: Flood, tell: Tell) -> None:
    """Ages of some tenants' events: alone, beside as much load of other tenants, and beside two kinds of floods."""
    for ages, what, tenants, matches in (
        (flood.alone, "nothing else", [], 1),
        (flood.spread, "as much load as a flood, spread evenly", [f"busy{each}" for each in range(_ENDPOINTS)], 1),
        (flood.one_endpoint, "one endpoint flooded", ["flooded"], 1),
        (flood.one_tenant, "one tenant flooding its endpoints", ["flooding"], _ENDPOINTS),
    ):
        ages.append(await _calm(way, tenants, matches))
        tell(f"{what}: the others' p50 {ages[-1].p50:.1f} ms, p99 {ages[-1].p99:.1f} ms")


async def _calm(way: _Way, busy: Sequence[str], matches: int) -> Ages:
    """Ages beside deliveries to the `busy` tenants, whose events match so many endpoints.

    Their events carry no time, so the receiver counts ages of the others alone.
    """
    run = f"f{time.monotonic_ns()}"
    async with over_kafka(way.bootstrap, way.subject.prefix) as send:

        def calm(number: int) -> bytes:
            return event(f"calm{number % _ENDPOINTS}", number, run)

        def wild(number: int) -> bytes:
            return event(busy[number % len(busy)], number, f"w{run}").replace(b'"at_ns"', b'"no_ns"')

        each, floods = _EACH * _ENDPOINTS, []
        await way.traffic.forget()
        if busy:
            rate = _EACH * _FLOOD // matches
            floods.append(at_rate(send, wild, int(rate * _STEADY_S), rate))
        await asyncio.gather(at_rate(send, calm, int(each * _STEADY_S), each), *floods)
        ages = await way.traffic.ages(int(each * _STEADY_S))
    ages = sorted(ages[each:])  # the first second is warm-up
    return Ages(ages[len(ages) // 2], ages[int(len(ages) * 0.99)], len(ages))


async def fill_delays(bootstrap: str, prefix: str, count: int) -> None:
    """Append retries that are due tomorrow."""
    topic, now_ms = f"{prefix}{TopicName.DELIVERIES_DELAY}.{RUNGS[-1][0]}", time.time_ns() // 1_000_000
    await fill(bootstrap, topic, _waiting(count, now_ms))


def _waiting(count: int, now_ms: int) -> Iterator[Entry]:
    body = b'{"type":"bench.event","data":{}}'
    for number in range(count):
        delivery = Delivery(
            id=f"dlv_{number:026d}",
            endpoint_id="ep_0",
            event_id=f"evt_{number}",
            event_type="bench.event",
            tenant="one",
            mode="live",
            created_at="2026-01-01T00:00:00Z",
            body=body,
            accepted_at_ms=now_ms,
            attempts=1,
            due_at_ms=now_ms + 86_400_000,
        )
        yield b"ep_0", body, delivery_record.encode(delivery)


def show(table: Table, curves: Curves) -> None:
    """Add the last run's values."""
    for point in curves.payloads:
        ours, loop = point.ours_us[-1], point.bare_us[-1]
        what = f"events of {point.at:,} bytes: CPU of a delivery"
        table.add_row(what, f"{ours:.0f} µs", f"bare loop: {loop:.0f} µs", f"{ours / loop:.2f}", "")
    for what, points in (("endpoints for each event", curves.matches), ("waiting retries", curves.waiting)):
        base = points[0].ours_us[-1]
        for point in points:
            us = point.ours_us[-1]
            row = f"{point.at:,} {what}: CPU of a delivery"
            table.add_row(row, f"{us:.0f} µs", f"{points[0].at}: {base:.0f} µs", f"{us / base:.2f}", "≤ 1.1 ×")
    alone = curves.flood.alone[-1]
    for what, ages in (
        ("as much load, spread", curves.flood.spread),
        ("one endpoint flooded", curves.flood.one_endpoint),
        ("one tenant flooding", curves.flood.one_tenant),
    ):
        beside = f"alone: p50 {alone.p50:.1f} ms, p99 {alone.p99:.1f} ms"
        shown = f"p50 {ages[-1].p50:.1f} ms, p99 {ages[-1].p99:.1f} ms"
        table.add_row(f"{what}: the others' ages", shown, beside, f"{ages[-1].p99 / alone.p99:.2f}", "≤ 1.2 ×")
