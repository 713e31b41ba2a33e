"""The course of a run: shifts of tenants one after the other, restarts and kills, samples, and the end."""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random

from aiohttp import ClientError

from tests.e2e.harness import Service
from tests.faults.cluster import Cluster, say
from tests.faults.faults import ROLES
from tests.faults.rounds import Stage
from tests.patience import PATIENCE_S
from tests.soak import report
from tests.soak.disturbances import plan
from tests.soak.judgement import KEEPALIVE_S, OPENING_S, Outcome, Sample, Shift, growth
from tests.soak.load import KINDS, Tenant, paused
from tests.soak.resources import look
from tests.soak.watching import LeanObserver

SAMPLE_S, PROGRESS_S = 5.0, 30.0
#: minutes that a set of tenants is there, about
SHIFT_MINUTES = OPENING_S / 60
#: seconds between the two looks at lag that must agree: longer than the service takes to sample it
_LAG_S = 10.0
_LAG = re.compile(r'^hookstream_consumer_lag_records\{group="([^"]+)",topic="([^"]+)"\} (\S+)', re.MULTILINE)
_BACKLOG = re.compile(r"^hookstream_retry_backlog\{[^}]*\} (\S+)", re.MULTILINE)


class SoakCluster(Cluster):
    """Without the proxy, with small table caches, and one process that traces its allocations if asked to."""

    def __init__(self, folder: Path, traced: str = "") -> None:
        super().__init__(folder)
        self.through = self.direct
        self._traced = traced

    def _service(self, name: str, roles: Sequence[str]) -> Service:
        made = super()._service(name, roles)
        made.command = (sys.executable, "-m", "tests.soak.service")
        if name == self._traced:
            made.environ["SOAK_TRACE"] = "1"
        return made


class Soak:
    """One run."""

    def __init__(self, cluster: Cluster, *, minutes: float, rate: float, seed: int) -> None:
        self._observer = LeanObserver(cluster.direct, cluster.prefix)
        self._stage = Stage(cluster, self._observer)
        self._cluster = cluster
        self._load_s = minutes * 60
        self._count = max(1, round(minutes / SHIFT_MINUTES))
        self._dice = Random(f"soak {seed}")
        self._begun = 0.0
        self._doing = "start"
        self._settling: list[asyncio.Task[None]] = []
        self._leaving: list[Tenant] = []
        self._appended, self._appending_s = 0, 0.0
        self.stop = asyncio.Event()
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.outcome = Outcome(seed, minutes, rate)

    async def run(self) -> None:
        """All of it; whatever happens, `outcome` has what was seen until then."""
        try:
            await self._stage.start()
            self._begun = asyncio.get_running_loop().time()
            watching = [asyncio.create_task(each) for each in (self._sample(), self._progress())]
            try:
                await self._play()
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
        except Exception as error:
            traceback.print_exc()
            self.outcome.incidents.append(f"the run itself failed: {error!r}")
        finally:
            self._judge()
            try:
                await self._stage.stop()
            finally:
                self.outcome.incidents += [f"a process: {each}" for each in self._cluster.ended_by_themselves]

    @property
    def _at(self) -> float:
        return asyncio.get_running_loop().time() - self._begun

    async def _play(self) -> None:
        disturbing = asyncio.create_task(self._disturb())
        try:
            for number in range(self._count):
                if not self.stop.is_set():
                    await self._shift(number)
            self._doing = "drain"
            await disturbing
            await self._cluster.heal()
            await asyncio.gather(*self._settling)
            await self._lag()
            await self._connections()
        finally:
            for task in (disturbing, *self._settling):
                task.cancel()
            await asyncio.gather(disturbing, *self._settling, return_exceptions=True)

    async def _shift(self, number: int) -> None:
        self._doing = f"shift {number + 1}/{self._count}"
        first = self.outcome.seed * 1000 + number * len(KINDS)
        tenants = [Tenant(self._stage, self._observer, first + at, kind) for at, kind in enumerate(KINDS)]
        await asyncio.gather(*(tenant.settle_in() for tenant in tenants))
        begun = self._at
        rate = self.outcome.rate / len(tenants)
        await asyncio.gather(*(tenant.live(self._load_s / self._count, rate, self.stop) for tenant in tenants))
        self._appending_s += self._at - begun
        self._appended += sum(tenant.appended for tenant in tenants)
        self._settling.append(asyncio.create_task(self._settle(number + 1, tenants)))

    async def _settle(self, number: int, tenants: Sequence[Tenant]) -> None:
        shift = Shift(number)
        self._leaving += tenants
        self.outcome.shifts.append(shift)
        for verdict, replays in await asyncio.gather(*(tenant.reconcile() for tenant in tenants)):
            shift.verdicts.append(verdict)
            shift.replays += replays
        self._leaving = [tenant for tenant in self._leaving if tenant not in tenants]
        say(f"       shift {number} is reconciled: lost {shift.total('lost')}, broken {len(shift.broken)}")
        for sentence in shift.broken[:5]:
            say(f"       {sentence}")

    async def _disturb(self) -> None:
        for each in plan(ROLES, self._load_s, self._load_s / self._count, self._dice):
            if await paused(self.stop, each.at - self._at):
                return
            say(f"{report.clock(self._at):>6}  {each.fault}")
            await self._stage.hurt(each.fault, self._dice)
            await self._cluster.heal()
            if each.fault.startswith("restart "):
                self.outcome.restarts += 1

    async def _sample(self) -> None:
        while True:
            for name, sample in self._look():
                self.samples[name].append(sample)
            await asyncio.sleep(SAMPLE_S)

    def _look(self) -> list[tuple[str, Sample]]:
        port = self._stage.receiver.port
        running = [(name, process) for name, process in self._cluster.processes.items() if process.alive]
        looks = [(name, look(process.pid, self._at, port, process.data_dir)) for name, process in running]
        return [(name, sample) for name, sample in looks if sample]

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            counts = (self._observer.events, self._observer.attempts, sum(tenant.open for tenant in self._leaving))
            say(report.progress(self._at, self._load_s, self._doing, counts, self.samples))

    async def _lag(self) -> None:
        """Lag and waiting retries, as the service shows them: all 0 in two looks, or what is left after patience."""
        self._doing = "lag"
        good = 0
        give_up = self._at + PATIENCE_S
        while good < 2 and self._at < give_up:
            await asyncio.sleep(_LAG_S)
            texts = await asyncio.gather(*(self._metrics(process) for process in self._cluster.processes.values()))
            rows = [row for text in texts for row in _LAG.findall(text)]
            lag = {f"{group} of {topic}": int(float(records)) for group, topic, records in rows}
            if not lag:
                continue
            self.outcome.waiting = sum(int(float(records)) for text in texts for records in _BACKLOG.findall(text))
            self.outcome.lag = {name: records for name, records in lag.items() if records}
            good = 0 if self.outcome.lag or self.outcome.waiting else good + 1

    async def _connections(self) -> None:
        """What is open to receivers, when nothing was sent for longer than an idle connection stays."""
        if self.outcome.lag == {} and not self.outcome.waiting:
            await asyncio.sleep(KEEPALIVE_S)
            self.outcome.connections = sum(sample.connections for _, sample in self._look())

    async def _metrics(self, process: Service) -> str:
        try:
            return await process.metrics()
        except (ClientError, OSError):
            return ""

    def _judge(self) -> None:
        self.outcome.kills = self._cluster.kills
        self.outcome.interrupted = self.stop.is_set()
        if self._begun:
            self.outcome.minutes = self._appending_s / 60
        self.outcome.appended_per_s = self._appended / max(1.0, self._appending_s)
        self.outcome.growths = [
            growth(name, samples, self.outcome.minutes, self.outcome.rate)
            for name, samples in sorted(self.samples.items())
        ]
