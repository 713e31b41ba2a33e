"""The service at everyday rates, beside a bare loop of two hops in the same run: latency, CPU, requests to Kafka.

Fan-out and dispatch are processes of their own; what they are compared with is `tests.bench.hops`. All other roles run
in a third process. `python -m tests.bench everyday`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer

from tests.bench.observed import Observation
from tests.bench.pipeline import event, producing
from tests.bench.stage import Child, Stage, Task, cpu_seconds
from tests.e2e.harness import Service, service

RATES = (10, 50, 150, 400)
#: seconds of a measurement, and of the warm-up before it
_SECONDS, _WARMUP_S = 12.0, 2.0
_OTHERS = ("sequencer", "registry", "replay", "api", "delay", "health")

Send = Callable[[bytes], Awaitable[object]]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one rate; CPU in milliseconds for each event."""

    p50_ms: float
    p99_ms: float
    events: int
    #: fan-out and dispatch, or the two bare loops
    cpu_ms: tuple[float, float]
    broker_cpu_ms: float
    #: requests to Kafka for each event: fan-out's, dispatch's
    requests: tuple[dict[str, float], dict[str, float]] = ({}, {})


class Rate(msgspec.Struct, kw_only=True):
    """All runs at one rate."""

    per_second: int
    kafka: list[Side] = []
    bare: list[Side] = []
    #: through POST /v1/events
    http: list[Side] = []


class _Traffic:
    """Events at a steady rate, and their ages at the receiver."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._runs = 0

    async def run(self, send: Send, rate: float, seconds: float) -> list[float]:
        """The ages of the events at the receiver, in milliseconds, ascending."""
        self._runs += 1
        await self._stage.tally(reset=True)
        count, begun, sent = max(1, int(rate * seconds)), time.perf_counter(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            sent.append(asyncio.ensure_future(send(event("one", number, f"r{self._runs}"))))
        await asyncio.gather(*sent)
        async with asyncio.timeout(60):
            while (await self._stage.tally()).requests < count:
                await asyncio.sleep(0.1)
        return sorted(age / 1e6 for age in (await self._stage.tally()).ages_ns)


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


class _Ours:
    def __init__(self, stage: Stage, api: Service, key: str, sides: Sequence[_Observed], http: bool) -> None:
        self._stage, self._api, self._key, self._sides, self._http = stage, api, key, sides, http

    async def run(self, traffic: _Traffic, rate: int) -> Side:
        """One measurement."""
        async with AsyncExitStack() as stack:
            send = await self._sender(stack)
            await traffic.run(send, rate, _WARMUP_S)
            broker_s = cpu_seconds(self._stage.broker_pid)
            for side in self._sides:
                await side.observe()
            ages = await traffic.run(send, rate, _SECONDS)
            first, second = [await side.observe() for side in self._sides]
        return Side(
            p50_ms=ages[len(ages) // 2],
            p99_ms=ages[int(len(ages) * 0.99)],
            events=len(ages),
            cpu_ms=(first.cpu_s / len(ages) * 1e3, second.cpu_s / len(ages) * 1e3),
            broker_cpu_ms=(cpu_seconds(self._stage.broker_pid) - broker_s) / len(ages) * 1e3,
            requests=(_each(first, len(ages)), _each(second, len(ages))),
        )

    async def _sender(self, stack: AsyncExitStack) -> Send:
        if not self._http:
            return over_kafka(await stack.enter_async_context(producing(self._stage.bootstrap)), self._api.prefix)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}

        async def post(body: bytes) -> None:
            own = body.replace(b'"tenant":"one",', b"", 1)  # the key says whose event it is
            async with session.post(f"{self._api.api_url}/v1/events", data=own, headers=headers) as answer:
                assert answer.status == 202, await answer.text()

        return post


def over_kafka(producer: AIOKafkaProducer, prefix: str) -> Send:
    """Append to events.raw, with as many keys as an application with 200 customers has."""

    async def send(value: bytes) -> object:
        return await producer.send_and_wait(f"{prefix}events.raw", value, key=b"k%d" % (hash(value) % 200))

    return send


def _each(seen: Observation, events: int) -> dict[str, float]:
    return {name: round(number / events, 3) for name, number in sorted(seen.requests.items())}


@asynccontextmanager
async def bare(stage: Stage) -> AsyncIterator[Callable[[_Traffic, int], Awaitable[Side]]]:
    """The two bare loops."""
    prefix, _ = await stage.topics()
    task = Task(bootstrap=stage.bootstrap, prefix=prefix, receiver=stage.receiver, count=0)
    words = msgspec.json.encode(task).decode()
    children = [await Child.start("tests.bench.hops", way, words) for way in ("forward", "post")]
    try:
        for child in children:
            await child.line()

        async def run(traffic: _Traffic, rate: int) -> Side:
            async with producing(stage.bootstrap) as producer:
                send = over_kafka(producer, prefix)
                await traffic.run(send, rate, _WARMUP_S)
                before, broker_s = [float(await child.ask()) for child in children], cpu_seconds(stage.broker_pid)
                ages = await traffic.run(send, rate, _SECONDS)
                first, second = [
                    (float(await child.ask()) - earlier) / len(ages) * 1e3
                    for child, earlier in zip(children, before, strict=True)
                ]
            return Side(
                p50_ms=ages[len(ages) // 2],
                p99_ms=ages[int(len(ages) * 0.99)],
                events=len(ages),
                cpu_ms=(first, second),
                broker_cpu_ms=(cpu_seconds(stage.broker_pid) - broker_s) / len(ages) * 1e3,
            )

        yield run
    finally:
        for child in children:
            await child.end()


@asynccontextmanager
async def ours(stage: Stage) -> AsyncIterator[tuple[_Ours, _Ours]]:
    """The service in three processes: over Kafka, and over HTTP."""
    folder = Path(stage.folder())
    settings = {"HOOKSTREAM_LOG_LEVEL": "error"}
    async with AsyncExitStack() as stack:
        prefix = f"b{os.urandom(4).hex()}."
        api = await stack.enter_async_context(service(stage.bootstrap, prefix, folder / "others", settings, _OTHERS))
        sides = []
        for role in ("fanout", "dispatch"):
            path = folder / f"{role}.json"
            watched = settings | {"BENCH_OBSERVATION": str(path)}
            each = Service(stage.bootstrap, prefix, folder / role, watched, (role,))
            each.command = (sys.executable, "-m", "tests.bench.observed")
            await each.start()
            stack.push_async_callback(each.stop)
            sides.append(_Observed(each, path))
        await api.add(f"{stage.receiver}/one", tenant="one")
        key = await api.key("one")
        yield _Ours(stage, api, key, sides, http=False), _Ours(stage, api, key, sides, http=True)


async def measure(stage: Stage, rounds: int, *, rates: Sequence[int] = RATES) -> list[Rate]:
    """Rounds of the bare loop and of the service, in turns."""
    stage.pin_others(apart=False)
    traffic = _Traffic(stage)
    results = {rate: Rate(per_second=rate) for rate in rates}
    for _ in range(rounds):
        async with bare(stage) as run:
            for rate in rates:
                results[rate].bare.append(await run(traffic, rate))
        async with ours(stage) as (kafka, http):
            for rate in rates:
                results[rate].kafka.append(await kafka.run(traffic, rate))
                results[rate].http.append(await http.run(traffic, rate))
    return list(results.values())
