"""What is measured at everyday rates, running: the service in three processes, the same in one, and the bare loops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from tests.bench.observed import Observation
from tests.bench.pipeline import UNLIMITED
from tests.bench.stage import Child, Stage, Task, cpu_seconds
from tests.e2e.harness import Service, service

_SETTINGS = {"HOOKSTREAM_LOG_LEVEL": "error"} | UNLIMITED
#: all roles that a delivery needs, but fan-out and dispatch
OTHER_ROLES = ("sequencer", "registry", "replay", "api", "delay", "health")


class Requests(msgspec.Struct, frozen=True):
    """Requests of one kind to Kafka."""

    per_event: float
    #: of one request
    bytes: float
    partitions: float


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What some events have cost; CPU in milliseconds for each event."""

    #: fan-out and dispatch, or the two bare loops
    cpu_ms: tuple[float, float]
    #: all other roles in their one process, or the bare HTTP server
    others_cpu_ms: float
    broker_cpu_ms: float
    #: fan-out's and dispatch's, by kind
    requests: tuple[dict[str, Requests], dict[str, Requests]] = ({}, {})


class Subject(Protocol):
    """Something that delivers events."""

    #: where it takes them: over HTTP, and the prefix of its topics
    url: str
    key: str
    prefix: str

    async def mark(self) -> None:
        """Count from here."""

    async def spent(self, events: int) -> Spent:
        """What was spent since the mark."""


class _Observed:
    """A process of the service that counts what it does."""

    def __init__(self, running: Service, path: Path) -> None:
        self._running, self._path = running, path

    async def observe(self) -> Observation:
        """What it did since the last call."""
        self._path.unlink(missing_ok=True)
        self._running.signal(signal.SIGUSR1)
        async with asyncio.timeout(10):
            while not self._path.exists():
                await asyncio.sleep(0.02)
        return msgspec.json.decode(self._path.read_bytes(), type=Observation)


class _Cpu:
    """The CPU of two processes."""

    def __init__(self, own: int, broker: int) -> None:
        self._pids = (own, broker)
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._before = [cpu_seconds(pid) for pid in self._pids]

    def since_mark(self) -> tuple[float, float]:
        """Seconds."""
        own, broker = [cpu_seconds(pid) - before for pid, before in zip(self._pids, self._before, strict=True)]
        return own, broker


class Separate:
    """The service in three processes."""

    def __init__(self, stage: Stage, api: Service, key: str, sides: Sequence[_Observed]) -> None:
        self.url, self.key, self.prefix = f"{api.api_url}/v1/events", key, api.prefix
        self.api = api
        self._cpu = _Cpu(api.pid, stage.broker_pid)
        self._sides = sides

    async def mark(self) -> None:
        self._cpu.mark()
        for side in self._sides:
            await side.observe()

    async def spent(self, events: int) -> Spent:
        seen = [await side.observe() for side in self._sides]
        others, broker = self._cpu.since_mark()
        return Spent(
            cpu_ms=(seen[0].cpu_s / events * 1e3, seen[1].cpu_s / events * 1e3),
            others_cpu_ms=others / events * 1e3,
            broker_cpu_ms=broker / events * 1e3,
            requests=(_requests(seen[0], events), _requests(seen[1], events)),
        )


def _requests(seen: Observation, events: int) -> dict[str, Requests]:
    return {
        name: Requests(round(sent.number / events, 4), round(sent.bytes / sent.number), sent.partitions / sent.number)
        for name, sent in sorted(seen.requests.items())
    }


@asynccontextmanager
async def separate(stage: Stage) -> AsyncIterator[Separate]:
    """The service in three processes: fan-out, dispatch, and all other roles that a delivery needs."""
    folder = Path(stage.folder())
    async with AsyncExitStack() as stack:
        prefix = f"b{os.urandom(4).hex()}."
        api = await stack.enter_async_context(
            service(stage.bootstrap, prefix, folder / "others", _SETTINGS, OTHER_ROLES)
        )
        sides = []
        for role in ("fanout", "dispatch"):
            path = folder / f"{role}.json"
            each = Service(
                stage.bootstrap, prefix, folder / role, _SETTINGS | {"BENCH_OBSERVATION": str(path)}, (role,)
            )
            each.command = (sys.executable, "-m", "tests.bench.observed")
            await each.start()
            stack.push_async_callback(each.stop)
            sides.append(_Observed(each, path))
        key = await _registered(api, stage.receiver)
        yield Separate(stage, api, key, sides)


async def _registered(api: Service, receiver: str) -> str:
    await api.add(f"{receiver}/one", tenant="one")
    return await api.key("one")


class Together:
    """The service with all roles in one process, projection and notifier included, as `hookstream up` runs them."""

    def __init__(self, stage: Stage, running: Service, key: str) -> None:
        self.url, self.key, self.prefix = f"{running.api_url}/v1/events", key, running.prefix
        self._cpu = _Cpu(running.pid, stage.broker_pid)

    async def mark(self) -> None:
        self._cpu.mark()

    async def spent(self, events: int) -> Spent:
        own, broker = self._cpu.since_mark()
        return Spent(cpu_ms=(0.0, 0.0), others_cpu_ms=own / events * 1e3, broker_cpu_ms=broker / events * 1e3)

    async def idle(self, seconds: float) -> tuple[float, float]:
        """CPU while nothing happens, in percent of a core: of the process, and of the broker."""
        await self.mark()
        await asyncio.sleep(seconds)
        own, broker = self._cpu.since_mark()
        return own / seconds * 100, broker / seconds * 100


@asynccontextmanager
async def together(stage: Stage) -> AsyncIterator[Together]:
    """All roles in one process."""
    prefix = f"b{os.urandom(4).hex()}."
    async with service(stage.bootstrap, prefix, Path(stage.folder()), _SETTINGS) as running:
        yield Together(stage, running, await _registered(running, stage.receiver))


class _Bare:
    key = ""

    def __init__(self, stage: Stage, prefix: str, url: str, children: Mapping[str, Child]) -> None:
        self.prefix, self.url = prefix, url
        self._stage, self._children = stage, children
        self._before: dict[str, float] = {}
        self._broker_s = 0.0

    async def mark(self) -> None:
        self._before = {way: float(await child.ask()) for way, child in self._children.items()}
        self._broker_s = cpu_seconds(self._stage.broker_pid)

    async def spent(self, events: int) -> Spent:
        each = {
            way: (float(await child.ask()) - self._before[way]) / events * 1e3 for way, child in self._children.items()
        }
        broker = (cpu_seconds(self._stage.broker_pid) - self._broker_s) / events * 1e3
        return Spent(cpu_ms=(each["forward"], each["post"]), others_cpu_ms=each["intake"], broker_cpu_ms=broker)


@asynccontextmanager
async def bare(stage: Stage) -> AsyncIterator[Subject]:
    """The bare loops of `tests.bench.hops`, one process each."""
    prefix, _ = await stage.topics()
    task = Task(bootstrap=stage.bootstrap, prefix=prefix, receiver=stage.receiver, count=0)
    words = msgspec.json.encode(task).decode()
    children: dict[str, Child] = {}
    try:
        for way in ("intake", "forward", "post"):
            children[way] = await Child.start("tests.bench.hops", way, words)
        ready = {way: (await child.line()).decode().strip() for way, child in children.items()}
        yield _Bare(stage, prefix, f"http://127.0.0.1:{ready['intake']}/v1/events", children)
    finally:
        for child in children.values():
            await child.end()
