"""The listener under attack, on real sockets: silence, slow heads, floods, unread answers, no descriptors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from app.adapters.http.descriptors import raise_descriptor_limit
from app.adapters.http.web_server import WebServer, add_probes, web_application
from app.core.connection_book import ConnectionLimits
from tests.patience import PATIENCE_S

GET = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: the other deadlines are out of reach, however slow the machine
SLOW_TO_READ = ConnectionLimits(total=20, head_s=PATIENCE_S, idle_s=PATIENCE_S, unread_s=0.5)
QUICK = ConnectionLimits(total=20, per_address=0, reserve=2, head_s=0.5, idle_s=0.5, unread_s=0.5)


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Commands run on uvloop, whose sockets are its own."""

    def run_it(run: Callable[[Coroutine[Any, Any, None]], None], **given: Any) -> None:
        run(test(**given))

    own = inspect.signature(test).parameters.values()
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run_it.__signature__ = inspect.Signature([run, *own])  # type: ignore[attr-defined]
    run_it.__name__, run_it.pytestmark = test.__name__, getattr(test, "pytestmark", [])  # type: ignore[attr-defined]
    marked: Callable[..., None] = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])(
        run_it
    )
    return marked


class Door:
    """A server with one route that waits until it is let go, and one that answers much."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.closed: Counter[str] = Counter()
        self.go = asyncio.Event()
        self.under_way = 0
        self.bodies: list[bytes] = []
        application = add_probes(web_application(), lambda: b"metrics\n", lambda: {"api": None})
        application.router.add_get("/wait", self._wait)
        application.router.add_get("/much", self._much)
        application.router.add_post("/body", self._body)
        self.server = WebServer(
            "127.0.0.1", 0, application, setting="X", limits=limits, on_closed=lambda why: self.closed.update([why])
        )
        self.port = 0

    async def _wait(self, _request: web.Request) -> web.Response:
        self.under_way += 1
        await self.go.wait()
        return web.Response(text="done")

    async def _much(self, _request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 50_000_000)

    async def _body(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(text="taken")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, path: bytes) -> bytes:
        """The first line of the answer; empty: the connection was closed."""
        reader, writer = await self.connect()
        try:
            writer.write(GET % path)
            async with asyncio.timeout(PATIENCE_S):
                return (await reader.readline()).strip()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def until_open(self, number: int) -> None:
        """Return when so many connections are open."""
        async with asyncio.timeout(PATIENCE_S):
            while self.server.connections != number:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(limits: ConnectionLimits) -> AsyncIterator[Door]:
    door = Door(limits)
    door.port = await door.server.start()
    try:
        yield door
    finally:
        door.go.set()
        await door.server.stop()


async def closed_by_the_server(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
        return True


@on_both_loops
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_silence_and_half_a_head_are_closed(sent: bytes) -> None:
    async with opened(QUICK) as door:
        reader, writer = await door.connect()
        writer.write(sent)
        assert await closed_by_the_server(reader)
        await door.until_open(0)
        writer.close()
    assert door.closed == {"head_timeout": 1}


@on_both_loops
async def test_a_head_that_trickles_has_one_deadline_as_a_whole() -> None:
    async with opened(QUICK) as door:
        reader, writer = await door.connect()

        async def trickle() -> None:
            for letter in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 5000:
                writer.write(bytes([letter]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(trickle())
        assert await closed_by_the_server(reader)
        dripping.cancel()
        writer.close()
    assert door.closed == {"head_timeout": 1}


@on_both_loops
async def test_an_idle_connection_is_closed_and_an_active_one_continues() -> None:
    async with opened(ConnectionLimits(total=20, head_s=3, idle_s=3, unread_s=PATIENCE_S)) as door:
        reader, writer = await door.connect()
        for _ in range(8):  # together longer than any deadline
            writer.write(GET % b"healthz")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"ok\n")
            await asyncio.sleep(0.4)
        assert await closed_by_the_server(reader)
        writer.close()


@on_both_loops
async def test_a_client_that_does_not_read_its_answer_is_dropped() -> None:
    async with opened(SLOW_TO_READ) as door:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", door.port))
            await loop.sock_sendall(client, GET % b"much")
            await door.until_open(1)
            await door.until_open(0)
    assert door.closed == {"unread": 1}


@on_both_loops
async def test_a_thousand_silent_connections_do_not_block_new_ones() -> None:
    raise_descriptor_limit()
    async with opened(ConnectionLimits(total=100, per_address=0)) as door:
        crowd = [await door.connect() for _ in range(1000)]
        await door.until_open(100)
        assert await door.ask(b"healthz") == b"HTTP/1.1 200 OK"
        assert door.closed["displaced"] >= 900
        for _, writer in crowd:
            writer.close()


@on_both_loops
async def test_if_all_connections_are_busy_probes_are_answered_and_others_get_503() -> None:
    async with opened(ConnectionLimits(total=10, per_address=0, reserve=4)) as door:
        asking = [asyncio.create_task(door.ask(b"wait")) for _ in range(10)]
        async with asyncio.timeout(PATIENCE_S):
            while door.under_way < 10:
                await asyncio.sleep(0.01)
        silent = [await door.connect() for _ in range(20)]
        for probe in (b"healthz", b"readyz", b"metrics"):
            assert await door.ask(probe) == b"HTTP/1.1 200 OK"
        assert await door.ask(b"wait") == b"HTTP/1.1 503 Service Unavailable"
        door.go.set()
        assert set(await asyncio.gather(*asking)) == {b"HTTP/1.1 200 OK"}, "who was busy was not disturbed"
        for _, writer in silent:
            writer.close()


@on_both_loops
async def test_an_address_has_a_share_of_the_connections() -> None:
    async with opened(ConnectionLimits(total=50, per_address=5, reserve=1)) as door:
        crowd = [await door.connect() for _ in range(30)]
        await door.until_open(5)
        for _, writer in crowd:
            writer.close()


@on_both_loops
async def test_a_lack_of_descriptors_does_not_end_the_listener() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with opened(ConnectionLimits(total=10_000, per_address=0)) as door:
        crowd = [await door.connect() for _ in range(20)]
        await door.until_open(20)
        with socket.socket() as late:
            late.setblocking(False)
            spare = [os.open(os.devnull, os.O_RDONLY)]
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare[0] + 1, hard))
            try:
                while True:
                    try:
                        spare.append(os.open(os.devnull, os.O_RDONLY))
                    except OSError:
                        break
                await asyncio.get_running_loop().sock_connect(late, ("127.0.0.1", door.port))
                async with asyncio.timeout(PATIENCE_S):
                    while not door.closed["exhausted"]:
                        await asyncio.sleep(0.01)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for each in spare:
                    os.close(each)
        assert await door.ask(b"healthz") == b"HTTP/1.1 200 OK"
        for _, writer in crowd:
            writer.close()


@on_both_loops
async def test_the_parser_does_not_decompress() -> None:
    async with opened(ConnectionLimits()) as door:
        reader, writer = await door.connect()
        body = b"\x1f\x8bnot inflated by anybody"
        head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert door.bodies == [body]
        writer.close()


@on_both_loops
async def test_requests_that_are_not_http_are_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with opened(ConnectionLimits()) as door:
        for rubbish in (
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"A" * 20_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        ):
            reader, writer = await door.connect()
            writer.write(rubbish)
            assert (await reader.readline()).startswith(b"HTTP/1.0 400"), rubbish[:20]
            writer.close()
    assert not caplog.records


def test_the_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
