"""A receiver that costs next to nothing: counts requests and takes the age of events that carry `at_ns`.

`GET /reset` forgets, `GET /stats` answers with a `Tally` as JSON. A first attempt at `/flaky` gets 500.
Run as a child: it prints its port. Its argument is a port to listen on, or `hang`: then it never answers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop

from tests.bench.sender import ANSWER

_LENGTHS = (b"content-length: ", b"Content-Length: ")
_AT = b'"at_ns":'
SORRY = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class Tally(msgspec.Struct):
    """What came since the last reset; times of the host's monotonic clock, in nanoseconds."""

    requests: int = 0
    first_ns: int = 0
    last_ns: int = 0
    #: from append to whole request, for each event that carried its time
    ages_ns: list[int] = []


class Sink(asyncio.Protocol):
    """One connection. One request at a time, as our senders do."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        self._pending = data = self._pending + data if self._pending else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        if data.startswith(b"GET"):
            self._pending = b""
            self._report(data.startswith(b"GET /reset"))
        elif len(data) >= end + 4 + _length(data):
            self._pending = b""
            flaky = data.startswith(b"POST /flaky") and b"\r\nwebhook-attempt: 1\r\n" in data[: end + 2]
            self._transport.write(SORRY if flaky else ANSWER)
            self._count(data, end)

    def _count(self, data: bytes, end: int) -> None:
        tally = self._tally
        tally.requests += 1
        tally.last_ns = time.monotonic_ns()
        tally.first_ns = tally.first_ns or tally.last_ns
        at = data.find(_AT, end)
        if at >= 0:
            begin = at + len(_AT)
            tally.ages_ns.append(tally.last_ns - int(data[begin : data.index(b",", begin)]))

    def _report(self, reset: bool) -> None:
        body = msgspec.json.encode(self._tally)
        if reset:
            self._tally.requests = self._tally.first_ns = self._tally.last_ns = 0
            self._tally.ages_ns = []
        self._transport.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        self._transport.close()


def _length(data: bytes) -> int:
    for name in _LENGTHS:
        at = data.find(name)
        if at >= 0:
            return int(data[at + len(name) : data.index(b"\r", at)])
    raise ValueError("a request without a content-length")


async def receive() -> None:
    tally = Tally()
    word = "".join(sys.argv[1:])
    make = asyncio.Protocol if word == "hang" else lambda: Sink(tally)
    port = int(word) if word.isdigit() else 0
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent closes it


if __name__ == "__main__":
    uvloop.run(receive())
