"""Events at a rate or as fast as they are taken, over Kafka or over HTTP, and their ages at the receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp

from tests.bench.pipeline import event, producing
from tests.bench.stage import Stage

#: how long the last event of a measurement may be on its way
_PATIENCE_S = 120
#: appends or requests that a burst has in progress: more appends would wait for room in aiokafka's batches
_IN_PROGRESS = 96

Send = Callable[[bytes], Awaitable[object]]
#: the event of a number, with the time at which it is made
Make = Callable[[int], bytes]


async def at_rate(send: Send, make: Make, events: int, rate: float) -> None:
    """Send events at a steady rate, and wait until all are taken."""
    begun, sent = time.perf_counter(), []
    for number in range(events):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        sent.append(asyncio.ensure_future(send(make(number))))
    await asyncio.gather(*sent)


async def at_once(send: Send, make: Make, events: int, in_progress: int) -> None:
    """Send events as fast as they are taken, so many at a time."""
    numbers = iter(range(events))

    async def work() -> None:
        for number in numbers:
            await send(make(number))

    await asyncio.gather(*(work() for _ in range(in_progress)))


class Traffic:
    """The publisher of one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._runs = 0

    async def steady(
        self, send: Send, rate: float, seconds: float, *, tenants: Sequence[str] = ("one",)
    ) -> list[float]:
        """The ages of events sent at a steady rate, in milliseconds, ascending."""
        count = max(1, int(rate * seconds))
        await at_rate(send, await self._next_run(tenants), count, rate)
        return sorted(await self.ages(count))

    async def forget(self) -> None:
        """Let the receiver count from now on."""
        await self._stage.tally(reset=True)

    async def ages(self, count: int) -> list[float]:
        """The ages of so many events that carry their time, in milliseconds, in the order in which they came."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(ages := (await self._stage.tally()).ages_ns) < count:
                await asyncio.sleep(0.1)
        return [age / 1e6 for age in ages]

    async def requests(self) -> int:
        """How many requests the receiver has counted."""
        return (await self._stage.tally()).requests

    async def burst(
        self, send: Send, events: int, *, tenants: Sequence[str] = ("one",), size: int = 800, matches: int = 1
    ) -> float:
        """Deliveries per second, from the first request to the last.

        The tenants get the events in turns; each event matches so many endpoints.
        """
        await at_once(send, await self._next_run(tenants, size), events, _IN_PROGRESS)
        await self._received(events * matches)
        tally = await self._stage.tally()
        return tally.requests / ((tally.last_ns - tally.first_ns) / 1e9)

    async def _next_run(self, tenants: Sequence[str], size: int = 800) -> Make:
        self._runs += 1
        await self.forget()
        run = f"r{self._runs}"
        return lambda number: event(tenants[number % len(tenants)], number, run, size)

    async def _received(self, count: int) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while (await self._stage.tally()).requests < count:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def over_kafka(bootstrap: str, prefix: str) -> AsyncIterator[Send]:
    """Append to events.raw, with as many keys as an application with 200 customers has."""
    async with producing(bootstrap) as producer:

        async def send(value: bytes) -> object:
            return await producer.send_and_wait(f"{prefix}events.raw", value, key=b"k%d" % (hash(value) % 200))

        yield send


@asynccontextmanager
async def over_http(url: str, key: str = "") -> AsyncIterator[Send]:
    """POST to `url`; `key` says whose event it is."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def send(body: bytes) -> None:
            own = body.replace(b'"tenant":"one",', b"", 1)
            async with session.post(url, data=own) as answer:
                assert answer.status == 202, await answer.text()

        yield send
