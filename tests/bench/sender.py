"""CPU per request of the HTTP sender, beside a tuned ClientSession, in one run: `python -m tests.bench.sender`.

The receiver is a bare protocol in a process of its own, so that only the sender's CPU is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from yarl import URL

from app.adapters.http.sender import HttpSender
from app.core.egress import EgressPolicy
from app.core.model.http_exchange import HttpReply, HttpRequest
from app.ports.http import Sender
from tests.contracts.session_sender import HttpSessionSender

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"received":true}'
HEADERS = (
    ("user-agent", "Hookstream/1"),
    ("content-type", "application/json"),
    ("webhook-id", "evt_2f1c7d0e9b"),
    ("webhook-timestamp", "1700000000"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ("hookstream-attempt", "1"),
)
BODY = b"x" * 1024
IN_FLIGHT = 64

SendOne = Callable[[], Awaitable[None]]


class Receiver(asyncio.Protocol):
    """Answers every request; the sizes are known, so it only counts bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has its own class
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        end = self._pending.find(b"\r\n\r\n")
        if end >= 0 and len(self._pending) >= end + 4 + len(BODY):
            self._pending = b""
            self._transport.write(ANSWER)


async def receive() -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def measure(send_one: SendOne, requests: int) -> float:
    """CPU microseconds per request with a fixed set of workers."""
    left = requests

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await send_one()

    gc.collect()
    before = time.process_time()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return (time.process_time() - before) / requests * 1e6


def through(sender: Sender, url: str) -> SendOne:
    request = HttpRequest(url=url, headers=HEADERS, body=BODY, timeout_s=20.0)

    async def send_one() -> None:
        outcome = await sender.send(request)
        assert isinstance(outcome, HttpReply) and outcome.status == 200 and len(outcome.body) == 17, outcome

    return send_one


def through_session(session: ClientSession, url: str, body: bytes = BODY) -> SendOne:
    target = URL(url)
    headers = dict(HEADERS)

    async def send_one() -> None:
        async with session.post(target, data=body, headers=headers, allow_redirects=False) as response:
            assert response.status == 200 and len(await response.read()) == 17

    return send_one


async def compare(port: int, rounds: int, requests: int) -> dict[str, list[float]]:
    url = f"http://127.0.0.1:{port}/standard/bench"
    policy = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.1"]), allow_http=True)
    sender, fallback = HttpSender(policy), HttpSessionSender(policy)
    await sender.start()
    await fallback.start()
    connector = TCPConnector(limit=0)
    async with ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False, raise_for_status=False
    ) as session:
        ways = {
            "ClientSession, tuned": through_session(session, url),
            "HttpSessionSender": through(fallback, url),
            "HttpSender": through(sender, url),
        }
        gc.freeze()
        results: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, send_one in ways.items():
                results[name].append(await measure(send_one, requests))
    await sender.close()
    await fallback.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--receiver", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receiver:
        uvloop.run(receive())
        return
    command = [sys.executable, "-m", "tests.bench.sender", "--receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            port = int(receiver.stdout.readline())
            results = uvloop.run(compare(port, options.rounds, options.requests))
        finally:
            receiver.terminate()
    baseline = statistics.median(results["ClientSession, tuned"])
    for name, values in results.items():
        median = statistics.median(values)
        sys.stdout.write(f"{name:22} {median:6.1f} µs CPU per request   {median / baseline:.2f} of the session\n")


if __name__ == "__main__":
    main()
