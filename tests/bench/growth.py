"""What endpoints cost that exist: 1,000, 100,000 and 1,000,000 in the registry, each beside a process with all roles.

Ready after how long, how large, and how much CPU a delivery takes: to 1,000 endpoints, and spread over all of them.
The processes run beside each other and get the same bursts in turns. `python -m tests.bench growth`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import msgspec
from aiokafka import AIOKafkaProducer
from rich.table import Table

from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.tokens import new_signing_secret
from app.core.model.endpoint import Endpoint
from app.core.model.tenant import Tenant
from app.core.records.registry import encode
from app.core.topics.names import TopicName
from tests.bench.bulk import Entry, fill
from tests.bench.stage import Stage, cpu_seconds
from tests.e2e.harness import Service

SIZES = (1_000, 100_000, 1_000_000)
#: endpoints of one tenant, each with a subscription of its own
_PER_TENANT = 200
#: endpoints that get all events of a narrow burst
_FEW = 1_000
_BURST = 6_000
_EVENT_BYTES = 800
#: after the last request: attempts are stored, offsets committed
_SETTLE_S = 2.0
_READY_S = 240.0

Progress = Callable[[str], None]


class Crowd(msgspec.Struct, kw_only=True):
    """A process with all roles beside so many endpoints; CPU in microseconds for each delivery."""

    endpoints: int
    ready_s: float
    ready_cpu_s: float
    #: when it was ready, and after all bursts
    ready_mib: float
    after_mib: float = 0.0
    #: one value for each burst
    few_us: list[float] = []
    spread_us: list[float] = []


def show(table: Table, crowds: Sequence[Crowd]) -> None:
    """Add a row for each value; the ratio is that to the first size."""
    base = crowds[0]
    for crowd in crowds:
        what = f"{crowd.endpoints:,} endpoints"
        added_s, beside = crowd.ready_cpu_s - base.ready_cpu_s, f"{base.endpoints:,}"
        cpu = f"{crowd.ready_s:.1f} s ({crowd.ready_cpu_s:.1f} s of CPU)"
        table.add_row(f"{what}: all roles ready", cpu, f"{beside}: {base.ready_s:.1f} s", "", "1,000,000: < 60 s")
        memory = f"{crowd.ready_mib:.0f} MiB, {crowd.after_mib:.0f} MiB after the bursts"
        others = f"{beside}: {base.ready_mib:.0f} MiB, {base.after_mib:.0f} MiB"
        table.add_row(f"{what}: memory of the process", memory, others, "", "1,000,000: ≤ 1,536 MiB")
        if crowd is not base:
            more = crowd.endpoints - base.endpoints
            each = f"{(crowd.ready_mib - base.ready_mib) * 2**20 / more:,.0f} bytes, {added_s / more * 1e6:.0f} µs"
            table.add_row(f"{what}: memory and CPU of one more at the start", each)
        for name, own, first in (
            ("to 1,000 of them", crowd.few_us, base.few_us),
            ("spread over all", crowd.spread_us, base.spread_us),
        ):
            us, other = median(own), median(first)
            table.add_row(
                f"{what}: CPU of a delivery, {name}",
                f"{us:.0f} µs",
                f"{beside}: {other:.0f} µs",
                f"{us / other:.2f}",
                "≤ 1.2 ×",
            )


class _Side:
    """One running process, and the bursts that it got."""

    def __init__(self, stage: Stage, running: Service, producer: AIOKafkaProducer, crowd: Crowd) -> None:
        self._stage, self._running, self._producer = stage, running, producer
        self.crowd = crowd
        self._sent = 0

    async def burst(self, numbers: Sequence[int]) -> float:
        """One event for each of these endpoints. Returns microseconds of CPU for each delivery."""
        await self._stage.tally(reset=True)
        before = cpu_seconds(self._running.pid)
        topic = f"{self._running.prefix}{TopicName.EVENTS_RAW}"
        acks = []
        for number in numbers:
            self._sent += 1
            acks.append(await self._producer.send(topic, event(number, self._sent), key=b"k%d" % (number % 200)))
        await asyncio.gather(*acks)
        async with asyncio.timeout(120):
            while (await self._stage.tally()).requests < len(numbers):
                await asyncio.sleep(0.2)
        await asyncio.sleep(_SETTLE_S)
        return (cpu_seconds(self._running.pid) - before) / len(numbers) * 1e6


def event(number: int, sent: int) -> bytes:
    """An event that endpoint `number` gets, and no other."""
    words = (number % _PER_TENANT, sent, number // _PER_TENANT)
    frame = b'{"type":"recording.k%d.done","id":"evt_%d","tenant":"t%d","data":{"x":"%s"}}'
    return frame % (*words, b"y" * (_EVENT_BYTES - len(frame % (*words, b""))))


def records(endpoints: int, receiver: str, ring: AesKeyRing) -> Iterator[tuple[str, bytes | None]]:
    """The registry's records, as its role writes them for endpoints that were created through the API."""
    for number in range(-(-endpoints // _PER_TENANT)):
        yield f"tenant/t{number}", encode(Tenant(id=f"t{number}", profile="standard"))
    at_ms = time.time_ns() // 1_000_000
    for number in range(endpoints):
        id_, tenant = f"ep_{number:024x}", f"t{number // _PER_TENANT}"
        endpoint = Endpoint(
            id=id_,
            tenant=tenant,
            mode="live",
            profile="standard",
            url=f"{receiver}/customer{number}/hooks",
            events=(f"recording.k{number % _PER_TENANT}.*", "summary.completed"),
            description="an endpoint like any other",
            secrets=(ring.seal(new_signing_secret(), f"{tenant}/{id_}", at_ms),),
            created_at_ms=at_ms + number,
            updated_at_ms=at_ms + number,
        )
        yield f"endpoint/{id_}", encode(endpoint)


def memory_mib(pid: int) -> float:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def _beside(stage: Stage, endpoints: int, producer: AIOKafkaProducer, progress: Progress) -> AsyncIterator[_Side]:
    prefix, topics = await stage.topics()
    settings = {"HOOKSTREAM_LOG_LEVEL": "error", "HOOKSTREAM_PARTITIONS": "12"}
    running = Service(stage.bootstrap, prefix, Path(stage.folder()), settings)
    ring = AesKeyRing(running.environ["HOOKSTREAM_SECRET_KEYS"])
    begun = time.perf_counter()
    entries: Iterator[Entry] = ((key.encode(), value, []) for key, value in records(endpoints, stage.receiver, ring))
    await fill(stage.bootstrap, topics.name(TopicName.REGISTRY), entries)
    progress(f"{endpoints:,} endpoints: written in {time.perf_counter() - begun:.0f} s")
    begun = time.perf_counter()
    await running.spawn()
    try:
        await running.until_ready(_READY_S)
        ready_s = time.perf_counter() - begun
        crowd = Crowd(
            endpoints=endpoints,
            ready_s=ready_s,
            ready_cpu_s=cpu_seconds(running.pid),
            ready_mib=memory_mib(running.pid),
        )
        progress(f"{endpoints:,} endpoints: all roles ready after {ready_s:.1f} s, {crowd.ready_mib:.0f} MiB")
        yield _Side(stage, running, producer, crowd)
        crowd.after_mib = memory_mib(running.pid)
    finally:
        await running.stop()


async def measure(stage: Stage, rounds: int, sizes: Sequence[int], progress: Progress) -> list[Crowd]:
    """All sizes beside each other; the first burst of each kind is warm-up."""
    stage.pin_others(apart=False)
    async with AsyncExitStack() as stack:
        producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        stack.push_async_callback(producer.stop)
        sides = [await stack.enter_async_context(_beside(stage, size, producer, progress)) for size in sizes]
        for number in range(rounds + 1):
            for side in sides:
                size = side.crowd.endpoints
                few = await side.burst([each % min(_FEW, size) for each in range(_BURST)])
                step, offset = max(1, size // _BURST), number * 7
                spread = await side.burst([(each * step + offset) % size for each in range(_BURST)])
                progress(f"round {number}, {size:,} endpoints: {few:.0f} µs to a few, {spread:.0f} µs spread over all")
                if number:
                    side.crowd.few_us.append(few)
                    side.crowd.spread_us.append(spread)
    return [side.crowd for side in sides]
