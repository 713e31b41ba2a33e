"""How fan-out and dispatch scale out: 1, 2 and 4 processes of each, and what it costs when one joins or leaves.

All processes share the cores of this machine with broker, publisher and receiver. Once its cores are full, more
processes cannot deliver more; what each delivery costs them still shows the price of being many.
`python -m tests.bench scale`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
from rich.table import Table

from tests.bench.curves import register
from tests.bench.pipeline import UNLIMITED
from tests.bench.stage import Stage, cpu_seconds
from tests.bench.subjects import OTHER_ROLES
from tests.bench.traffic import Send, Traffic, over_kafka
from tests.e2e.harness import Service, service

#: of each of the two roles; the first is what the others are compared with
PROCESSES = (1, 2, 4)
#: with one endpoint each; the deliveries of an endpoint are in one partition
_TENANTS = [f"t{number}" for number in range(48)]
#: of each of the two roles, before one joins or leaves
_BEFORE = 2
_BURST = 12_000
#: events per second while processes join and leave, for how long, and when it happens
RATE = 100
_STEADY_S, _CHANGE_S = 12.0, 2.0
#: after the last event, for requests that are sent again
_REPEATS_S = 2.0
_SETTINGS = {"HOOKSTREAM_LOG_LEVEL": "error", "HOOKSTREAM_PARTITIONS": "12"} | UNLIMITED

Tell = Callable[[str], None]


class Crowd(msgspec.Struct, kw_only=True):
    """So many processes of fan-out and as many of dispatch; one value for each run."""

    processes: int
    per_second: list[float] = []
    #: CPU of all of them for each delivery, in microseconds
    cpu_us: list[float] = []
    broker_us: list[float] = []


class Change(msgspec.Struct, kw_only=True):
    """What a change of the processes does to events under way; one value for each run."""

    what: str
    p50_ms: list[float] = []
    slowest_ms: list[float] = []
    #: requests beyond one for each event
    repeated: list[int] = []


class Scale(msgspec.Struct, kw_only=True):
    """What was measured."""

    crowds: list[Crowd] = []
    changes: list[Change] = []


class _Fleet:
    """A service whose fan-out and dispatch are processes of their own."""

    def __init__(self, stage: Stage, others: Service) -> None:
        self._stage, self._others = stage, others
        self.prefix = others.prefix
        self._running: dict[str, list[Service]] = {"fanout": [], "dispatch": []}

    async def join(self, role: str) -> None:
        """Start one more process of a role, and wait until it is ready."""
        each = Service(self._stage.bootstrap, self.prefix, Path(self._stage.folder()), _SETTINGS, (role,))
        self._running[role].append(each)
        await each.start()

    async def leave(self, role: str) -> None:
        """Stop the process that joined last, with SIGTERM."""
        assert await self._running[role].pop().stop() == 0

    async def die(self, role: str) -> None:
        """Kill the process that joined last, with SIGKILL; nothing replaces it."""
        each = self._running[role].pop()
        each.kill()
        await each.ended()

    async def stop(self) -> None:
        """Stop all."""
        for processes in self._running.values():
            await asyncio.gather(*(each.stop() for each in processes))

    def cpu_s(self) -> tuple[float, float]:
        """CPU so far: of fan-out and dispatch, and of the broker."""
        own = sum(cpu_seconds(each.pid) for processes in self._running.values() for each in processes)
        return own, cpu_seconds(self._stage.broker_pid)


@asynccontextmanager
async def _fleet(stage: Stage, processes: int) -> AsyncIterator[_Fleet]:
    prefix = f"b{os.urandom(4).hex()}."
    others = Path(stage.folder())
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(service(stage.bootstrap, prefix, others, _SETTINGS, OTHER_ROLES))
        for tenant in _TENANTS:
            await register(api, tenant, [f"{stage.receiver}/{tenant}"])
        fleet = _Fleet(stage, api)
        stack.push_async_callback(fleet.stop)
        for _ in range(processes):
            await fleet.join("fanout")
            await fleet.join("dispatch")
        yield fleet


async def measure(stage: Stage, runs: int, tell: Tell) -> Scale:
    """Each run starts each number of processes afresh."""
    stage.pin_others(apart=False)
    scale = Scale(crowds=[Crowd(processes=number) for number in PROCESSES])
    for number in range(runs):
        tell(f"run {number + 1}")
        for crowd in scale.crowds:
            async with _fleet(stage, crowd.processes) as fleet:
                await _burst(stage, fleet, crowd, tell)
        async with _fleet(stage, _BEFORE) as fleet:
            await _changes(stage, fleet, scale, tell)
    return scale


async def _burst(stage: Stage, fleet: _Fleet, crowd: Crowd, tell: Tell) -> None:
    traffic = Traffic(stage)
    async with over_kafka(stage.bootstrap, fleet.prefix) as send:
        await traffic.burst(send, _BURST // 4, tenants=_TENANTS)
        before = fleet.cpu_s()
        crowd.per_second.append(await traffic.burst(send, _BURST, tenants=_TENANTS))
        await asyncio.sleep(1.0)  # attempts are stored, offsets committed
        own, broker = (now - then for now, then in zip(fleet.cpu_s(), before, strict=True))
    crowd.cpu_us.append(own / _BURST * 1e6)
    crowd.broker_us.append(broker / _BURST * 1e6)
    tell(f"{crowd.processes} of each: {crowd.per_second[-1]:,.0f}/s, {crowd.cpu_us[-1]:.0f} µs of CPU each")


async def _changes(stage: Stage, fleet: _Fleet, scale: Scale, tell: Tell) -> None:
    steps: list[tuple[str, Callable[[], Awaitable[None]] | None]] = [("nothing changes", None)]
    for role in ("dispatch", "fanout"):
        steps += [
            (f"a third process of `{role}` starts", partial(fleet.join, role)),
            (f"one of three processes of `{role}` stops", partial(fleet.leave, role)),
            (f"one of two processes of `{role}` is killed", partial(fleet.die, role)),
        ]
    traffic = Traffic(stage)
    async with over_kafka(stage.bootstrap, fleet.prefix) as send:
        await traffic.burst(send, _BURST // 4, tenants=_TENANTS)
        for what, change in steps:
            ages, repeated = await _while_changing(traffic, send, change)
            entry = next((each for each in scale.changes if each.what == what), None)
            if entry is None:
                entry = Change(what=what)
                scale.changes.append(entry)
            entry.p50_ms.append(ages[len(ages) // 2])
            entry.slowest_ms.append(ages[-1])
            entry.repeated.append(repeated)
            tell(f"{what}: p50 {entry.p50_ms[-1]:.1f} ms, slowest {ages[-1]:.0f} ms, {repeated} requests sent again")


async def _while_changing(
    traffic: Traffic, send: Send, change: Callable[[], Awaitable[None]] | None
) -> tuple[list[float], int]:
    """The ages of all events while the processes change, ascending; and how many requests were sent again."""

    async def later() -> None:
        await asyncio.sleep(_CHANGE_S)
        if change is not None:
            await change()

    changing = asyncio.create_task(later())
    ages = await traffic.steady(send, RATE, _STEADY_S, tenants=_TENANTS)
    await changing
    await asyncio.sleep(_REPEATS_S)
    events = int(RATE * _STEADY_S)
    return ages, await traffic.requests() - events


def show(table: Table, scale: Scale) -> None:
    """Add the last run's values."""
    alone = scale.crowds[0].cpu_us[-1]
    for crowd in scale.crowds:
        own = crowd.cpu_us[-1]
        what = f"{crowd.processes} processes each of fan-out and dispatch"
        table.add_row(
            what,
            f"{crowd.per_second[-1]:,.0f}/s ({own:.0f} µs CPU each)",
            f"1: {alone:.0f} µs",
            f"{own / alone:.2f}",
            "",
        )
    calm = scale.changes[0].slowest_ms[-1]
    for change in scale.changes:
        ages = f"p50 {change.p50_ms[-1]:.1f} ms, slowest {change.slowest_ms[-1]:.0f} ms, {change.repeated[-1]} again"
        table.add_row(f"{RATE} events/s, {change.what}", ages, f"calm: slowest {calm:.0f} ms", "", "")
