"""The whole service on this machine, broker, receiver and producer included."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer

from tests.bench.stage import Child, Stage, cpu_seconds
from tests.e2e.harness import Service, service

_EVENT_BYTES = 800
#: that a burst over HTTP has in progress
_REQUESTS = 64
#: limits of the API that a bench with one key would meet
UNLIMITED = {"HOOKSTREAM_API_RATE_LIMIT": "1000000", "HOOKSTREAM_API_RATE_LIMIT_PER_TENANT": "1000000"}
#: the roles of the two processes
FRONT = ("fanout", "sequencer", "registry", "replay", "api")
BACK = ("dispatch", "delay")


class Speed(msgspec.Struct, frozen=True):
    """Deliveries per second of a burst."""

    deliveries: int
    per_second: float


class Ages(msgspec.Struct, frozen=True):
    """From append to received request, in milliseconds."""

    p50: float
    p99: float
    requests: int


class Report(msgspec.Struct, kw_only=True):
    """Everything measured of one running service."""

    one: Speed | None = None
    ten: Speed | None = None
    #: through POST /v1/events
    http_one: Speed | None = None
    http_ten: Speed | None = None
    at_150: Ages | None = None
    half_load: Ages | None = None
    healthy_alone: Ages | None = None
    healthy_beside_hanging: Ages | None = None
    one_key: Speed | None = None
    many_keys: Speed | None = None
    retry_late_under_100_ms: float = 0.0
    retries: int = 0
    idle_percent_of_a_core: float = 0.0


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def beside(first: Service, folder: Path) -> AsyncIterator[Service]:
    """The second process."""
    other = Service(first.bootstrap, first.prefix, folder, {"HOOKSTREAM_LOG_LEVEL": "error"}, BACK)
    await other.start()
    try:
        yield other
    finally:
        await other.stop()


def event(tenant: str, number: int, run: str, size: int = _EVENT_BYTES) -> bytes:
    """An event of `size` bytes that carries the time of its append."""
    frame = b'{"type":"bench.event","id":"%s_%06d","tenant":"%s","data":{"at_ns":%d,"x":"%s"}}'
    words = (run.encode(), number, tenant.encode(), time.monotonic_ns())
    return frame % (*words, b"y" * max(0, size - len(frame % (*words, b""))))


class Bench:
    """One running service with its endpoints."""

    def __init__(self, stage: Stage, running: Service, sending: Service, producer: AIOKafkaProducer) -> None:
        self._stage = stage
        self._services = (running, sending)
        self._producer = producer
        self._topic = f"{running.prefix}events.raw"
        self._runs = 0

    async def _append(self, tenant: str, number: int, ordering_keys: int = 0) -> asyncio.Future[object]:
        value = event(tenant, number, f"{tenant}{self._runs}")
        key = b"k%d" % (number % (ordering_keys or 200))
        headers = [("ordering-key", key)] if ordering_keys else []
        return await self._producer.send(self._topic, value, key=key, headers=headers)  # type: ignore[no-any-return]

    async def _received(self, count: int, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while (await self._stage.tally()).requests < count:
                await asyncio.sleep(0.1)

    async def burst(self, tenant: str, events: int, endpoints: int, ordering_keys: int = 0) -> Speed:
        """As fast as it goes: from the first to the last request. `ordering_keys`: spread over so many."""
        self._runs += 1
        await self._stage.tally(reset=True)
        acks = [await self._append(tenant, number, ordering_keys) for number in range(events)]
        await asyncio.gather(*acks)
        await self._received(events * endpoints)
        tally = await self._stage.tally()
        return Speed(tally.requests, tally.requests / ((tally.last_ns - tally.first_ns) / 1e9))

    async def burst_over_http(self, tenant: str, events: int, endpoints: int) -> Speed:
        """The same through the API, with a few requests in progress."""
        self._runs += 1
        await self._stage.tally(reset=True)
        api = self._services[0]
        headers = {"authorization": f"Bearer {await api.key(tenant)}", "content-type": "application/json"}
        numbers = iter(range(events))
        async with aiohttp.ClientSession(headers=headers) as session:

            async def work() -> None:
                for number in numbers:
                    body = event(tenant, number, f"{tenant}{self._runs}").replace(
                        b'"tenant":"%s",' % tenant.encode(), b""
                    )
                    async with session.post(f"{api.api_url}/v1/events", data=body) as answer:
                        assert answer.status == 202, await answer.text()

            await asyncio.gather(*(work() for _ in range(_REQUESTS)))
        await self._received(events * endpoints)
        tally = await self._stage.tally()
        return Speed(tally.requests, tally.requests / ((tally.last_ns - tally.first_ns) / 1e9))

    async def steady(self, tenant: str, rate: float, seconds: float, endpoints: int = 1) -> Ages:
        """Ages at a steady rate; the first second is warm-up."""
        self._runs += 1
        await self._stage.tally(reset=True)
        events, begun, acks = int(rate * seconds), time.perf_counter(), []
        for number in range(events):
            wait = begun + number / rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            acks.append(await self._append(tenant, number))
        await asyncio.gather(*acks)
        await self._received(events * endpoints)
        ages = sorted((await self._stage.tally()).ages_ns[int(rate) * endpoints :])
        return Ages(ages[len(ages) // 2] / 1e6, ages[int(len(ages) * 0.99)] / 1e6, len(ages))

    async def retries(self, events: int) -> tuple[float, int]:
        """The share of retries that were released within 100 ms of their due time, and how many there were."""
        before = await self._lateness()
        self._runs += 1
        await self._stage.tally(reset=True)
        await asyncio.gather(*[await self._append("retry", number) for number in range(events)])
        await self._received(2 * events)
        after = await self._lateness()
        total = after[1] - before[1]
        return (after[0] - before[0]) / total, int(total)

    async def _lateness(self) -> tuple[float, float]:
        timely = total = 0.0
        for line in (await self._services[1].metrics()).splitlines():
            if line.startswith("hookstream_retry_lateness_seconds_bucket") and 'le="0.1"' in line:
                timely += float(line.split()[-1])
            elif line.startswith("hookstream_retry_lateness_seconds_count"):
                total += float(line.split()[-1])
        return timely, total

    async def idle(self, seconds: float = 10) -> float:
        """CPU of the service's processes while nothing happens, in percent of a core, for all roles together."""
        await asyncio.sleep(2)
        before = sum(cpu_seconds(each.pid) for each in self._services)
        await asyncio.sleep(seconds)
        return (sum(cpu_seconds(each.pid) for each in self._services) - before) / seconds * 100


async def measure(stage: Stage) -> Report:
    """All measurements, one after the other, on one service."""
    stage.pin_others(apart=False)
    report = Report()
    hanging = await Child.start("tests.bench.receiver", "hang")
    settings = {"HOOKSTREAM_PARTITIONS": "12", "HOOKSTREAM_LOG_LEVEL": "error"} | UNLIMITED
    try:
        dead = f"http://127.0.0.1:{int(await hanging.line())}"
        async with (
            service(stage.bootstrap, f"b{os.urandom(4).hex()}.", Path(stage.folder()), settings, FRONT) as running,
            beside(running, Path(stage.folder())) as sending,
            producing(stage.bootstrap) as producer,
        ):
            await _register(running, stage.receiver, dead)
            bench = Bench(stage, running, sending, producer)
            await bench.burst("one", 2_000, 1)  # warm-up
            report.idle_percent_of_a_core = await bench.idle()
            report.one = await bench.burst("one", 30_000, 1)
            report.ten = await bench.burst("ten", 6_000, 10)
            report.http_one = await bench.burst_over_http("one", 10_000, 1)
            report.http_ten = await bench.burst_over_http("ten", 4_000, 10)
            report.at_150 = await bench.steady("one", 150, 12)
            report.half_load = await bench.steady("one", report.one.per_second / 2, 8)
            report.one_key = await bench.burst("ordered", 1_000, 1, 1)
            report.many_keys = await bench.burst("ordered", 20_000, 1, 2_000)
            report.retry_late_under_100_ms, report.retries = await bench.retries(3_000)
            report.healthy_alone = await bench.steady("healthy", 40, 12, 8)
            report.healthy_beside_hanging = await bench.steady("mixed", 40, 12, 8)
    finally:
        await hanging.end()
    return report


async def _register(running: Service, receiver: str, dead: str) -> None:
    await running.add(f"{receiver}/one", tenant="one")
    for number in range(10):
        await running.add(f"{receiver}/ten{number}", tenant="ten")
    await running.add(f"{receiver}/ordered", tenant="ordered", ordering="fifo")
    await running.add(f"{receiver}/flaky", tenant="retry", schedule="0,2")
    for number in range(8):
        await running.add(f"{receiver}/healthy{number}", tenant="healthy")
        await running.add(f"{receiver}/mixed{number}", tenant="mixed")
    for number in range(2):
        await running.add(f"{dead}/hangs{number}", tenant="mixed")
