"""The publisher and the receiver of the bench against any service: `python -m tests.bench.publisher svix --url …`.

It registers the receiver with the service, publishes events of 800 bytes at each rate and as fast as they are taken,
and prints their ages at the receiver, deliveries per second, and the CPU of the processes that `--pids` names.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgspec
import uvloop

from tests.bench.pipeline import event, producing
from tests.bench.receiver import Tally
from tests.bench.stage import Child, cpu_seconds
from tests.bench.traffic import Send, at_once, at_rate

#: events of a burst, and what it has in progress
_BURST, _IN_PROGRESS = 5_000, 64
_PATIENCE_S = 120
#: of the application, the tenant or the customer that publishes
_NAME = "bench"


class Request(NamedTuple):
    """One request to the API of a service; no body is `None`."""

    method: str
    path: str
    body: Any


class Service(NamedTuple):
    """How to register a receiver with a service, and how to publish."""

    set_up: Callable[[str], Sequence[Request]]
    publish: Callable[[bytes], Request]


def _data(body: bytes) -> msgspec.Raw:
    return msgspec.Raw(body[body.index(b'"data":') + len(b'"data":') : -1])


#: `endpoint` is a URL of the receiver, `body` an event of `tests.bench.pipeline.event`
SERVICES = {
    "hookstream": Service(
        lambda endpoint: [Request("POST", "/v1/webhooks", {"url": endpoint, "events": "*"})],
        lambda body: Request("POST", "/v1/events", {"type": "bench.event", "data": _data(body)}),
    ),
    "svix": Service(
        lambda endpoint: [
            Request("POST", "/api/v1/app/?get_if_exists=true", {"name": _NAME, "uid": _NAME}),
            Request("POST", f"/api/v1/app/{_NAME}/endpoint/", {"url": endpoint, "version": 1}),
        ],
        lambda body: Request("POST", f"/api/v1/app/{_NAME}/msg/", {"eventType": "bench.event", "payload": _data(body)}),
    ),
    "outpost": Service(
        lambda endpoint: [
            Request("PUT", f"/api/v1/tenants/{_NAME}", None),
            Request(
                "POST",
                f"/api/v1/tenants/{_NAME}/destinations",
                {"type": "webhook", "topics": ["*"], "config": {"url": endpoint}},
            ),
        ],
        lambda body: Request(
            "POST", "/api/v1/publish", {"tenant_id": _NAME, "topic": "bench.event", "data": _data(body)}
        ),
    ),
}


class Measured(NamedTuple):
    """One rate; 0 is as fast as events are taken."""

    rate: float
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        name = f"{self.rate:.0f}/s" if self.rate else "as fast as it goes"
        ages = f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms" if self.rate else f"{self.per_second:,.0f}/s"
        return f"{name}: {ages}, CPU {self.cpu_ms:.2f} ms for each delivery"


class Publisher:
    """Publishes, and asks the receiver what has arrived."""

    def __init__(self, send: Send, receiver: str, pids: Sequence[int], endpoints: int) -> None:
        self._send, self._receiver, self._pids, self._endpoints = send, receiver, pids, endpoints

    async def steady(self, rate: float, seconds: float) -> Measured:
        """Ages at a steady rate."""
        return await self._measured(rate, max(1, int(rate * seconds)))

    async def burst(self, events: int) -> Measured:
        """As fast as it goes: from the first request to the last."""
        return await self._measured(0.0, events)

    async def _measured(self, rate: float, events: int) -> Measured:
        await self._tally("reset")
        before = self._cpu_s()
        run = f"r{time.monotonic_ns()}"

        def make(number: int) -> bytes:
            return event(_NAME, number, run)

        if rate:
            await at_rate(self._send, make, events, rate)
        else:
            await at_once(self._send, make, events, _IN_PROGRESS)
        tally = await self._received(events * self._endpoints)
        ages = sorted(age / 1e6 for age in tally.ages_ns)
        return Measured(
            rate,
            tally.requests / ((tally.last_ns - tally.first_ns) / 1e9 or 1.0),
            ages[len(ages) // 2],
            ages[int(len(ages) * 0.99)],
            (self._cpu_s() - before) / tally.requests * 1e3,
        )

    async def _received(self, count: int) -> Tally:
        async with asyncio.timeout(_PATIENCE_S):
            while (tally := await self._tally("stats")).requests < count:
                await asyncio.sleep(0.1)
        return tally

    async def _tally(self, what: str) -> Tally:
        async with aiohttp.ClientSession() as http, http.get(f"{self._receiver}/{what}") as answer:
            return msgspec.json.decode(await answer.read(), type=Tally)

    def _cpu_s(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._pids)


async def requested(session: aiohttp.ClientSession, url: str, request: Request) -> None:
    """Make one request. Raises `AssertionError` with the answer unless it is 2xx."""
    body = None if request.body is None else msgspec.json.encode(request.body)
    async with session.request(request.method, url + request.path, data=body) as answer:
        assert answer.status < 300, f"{request.path}: {answer.status} {await answer.text()}"


async def measure(options: argparse.Namespace, send: Send, receiver: str) -> None:
    publisher = Publisher(send, receiver, options.pids, options.endpoints)
    await publisher.burst(200)  # warm-up
    for rate in options.rates:
        for _ in range(options.runs):
            sys.stdout.write(f"{await publisher.steady(rate, options.seconds)}\n")
    for _ in range(options.runs):
        sys.stdout.write(f"{await publisher.burst(options.burst)}\n")


async def main(options: argparse.Namespace) -> None:
    """Register the receiver, then measure."""
    child = await Child.start("tests.bench.receiver", str(options.receiver_port))
    receiver = f"http://127.0.0.1:{int(await child.line())}"
    headers = {"authorization": f"Bearer {options.token}", "content-type": "application/json"}
    try:
        if options.service == "kafka":
            async with producing(options.url) as producer:
                keys = itertools.cycle(b"k%d" % number for number in range(200))
                await measure(
                    options, lambda body: producer.send_and_wait(options.topic, body, key=next(keys)), receiver
                )
            return
        service = SERVICES[options.service]
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
            for number in range(options.endpoints):
                for request in service.set_up(f"{receiver}/{_NAME}{number}"):
                    await requested(session, options.url, request)
            await measure(options, lambda body: requested(session, options.url, service.publish(body)), receiver)
    finally:
        await child.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.publisher", description=__doc__)
    parser.add_argument("service", choices=(*SERVICES, "kafka"), help="kafka: append to --topic, register nothing")
    parser.add_argument("--url", required=True, help="of the API; for kafka the bootstrap servers")
    parser.add_argument("--token", default="", help="of the API")
    parser.add_argument("--topic", default="events.raw", help="of kafka")
    parser.add_argument("--endpoints", type=int, default=1, help="each event goes to so many")
    parser.add_argument("--rates", type=float, nargs="*", default=(10, 150), help="events per second")
    parser.add_argument("--seconds", type=float, default=12.0, help="at each rate")
    parser.add_argument("--burst", type=int, default=_BURST, help="events published as fast as they are taken")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement")
    parser.add_argument("--receiver-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--pids", type=int, nargs="*", default=(), help="processes whose CPU is counted")
    uvloop.run(main(parser.parse_args()))
