"""Connections at rest and at work, without sockets: what is kept, what is dropped, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from yarl import URL

from app.adapters.http import pool as pool_
from app.adapters.http.pool import SLOT_S, Deadlines, IdlePool, Origin
from app.adapters.http.sender import HttpSender
from app.adapters.http.wire import MAX_INTERIM, HttpConnection
from tests.contracts.fault_server import OK, Conversation, FaultServer, answering, obliging
from tests.contracts.sender_kit import LOCAL, post, refused, replied


class Transport(asyncio.Transport):
    """Remembers that it was aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.unsent = 0

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        """The peer's end does not matter here."""

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent


class ManualLoop:
    """A loop's clock and timers, moved by hand; everything else is the running loop's."""

    def __init__(self) -> None:
        self._real = asyncio.get_running_loop()
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        handle = self._real.call_later(3600, callback, *args)
        self.timers.append((when, lambda: None if handle.cancelled() else callback(*args)))
        return handle

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args)

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self.timers if when <= self.now]
        self.timers = [(when, callback) for when, callback in self.timers if when > self.now]
        for callback in due:
            callback()


@pytest.fixture
async def loop() -> ManualLoop:
    return ManualLoop()


@pytest.fixture
async def origin() -> Origin:
    return Origin(URL("http://hook.test"), asyncio.get_running_loop())


def connected() -> tuple[HttpConnection, Transport]:
    wire, transport = HttpConnection(asyncio.get_running_loop()), Transport()
    wire.connection_made(transport)
    wire.set_response_params(read_until_eof=True)
    return wire, transport


def pool_on(loop: ManualLoop) -> IdlePool:
    return IdlePool(cast(asyncio.AbstractEventLoop, loop), keepalive_s=15)


async def test_the_youngest_connection_is_taken_first(loop: ManualLoop, origin: Origin) -> None:
    pool, wires = pool_on(loop), [connected()[0] for _ in range(3)]
    for wire in wires:
        pool.give(wire, origin)
    assert [pool.take(origin) for _ in range(4)] == [*reversed(wires), None]


async def test_a_connection_on_which_the_peer_spoke_unasked_is_dropped(loop: ManualLoop, origin: Origin) -> None:
    pool, (wire, transport) = pool_on(loop), connected()
    pool.give(wire, origin)
    wire.data_received(b"HTTP/1.1 408 Request Timeout\r\n")
    assert pool.take(origin) is None
    assert transport.aborted


async def test_idle_connections_are_closed_after_their_time(loop: ManualLoop, origin: Origin) -> None:
    pool, (old, old_transport), (young, young_transport) = pool_on(loop), connected(), connected()
    pool.give(old, origin)
    loop.move(10)
    pool.give(young, origin)
    loop.move(5)
    assert (old_transport.aborted, young_transport.aborted) == (True, False)
    loop.move(10)
    assert young_transport.aborted
    assert pool.take(origin) is None
    assert loop.timers == []


async def test_an_old_connection_is_not_taken_even_before_it_is_swept(loop: ManualLoop, origin: Origin) -> None:
    pool, (wire, transport) = pool_on(loop), connected()
    pool.give(wire, origin)
    loop.now += 15
    assert pool.take(origin) is None
    assert transport.aborted


async def test_the_longest_idle_makes_room(loop: ManualLoop, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_, "MAX_IDLE", 2)
    other = Origin(URL("http://other.test"), asyncio.get_running_loop())
    pool, given = pool_on(loop), [connected() for _ in range(3)]
    for (wire, _), place in zip(given, (origin, other, other), strict=True):
        pool.give(wire, place)
    assert [transport.aborted for _, transport in given] == [True, False, False]
    assert pool.take(origin) is None


async def test_a_connection_returned_after_close_is_closed(loop: ManualLoop, origin: Origin) -> None:
    pool, (wire, transport) = pool_on(loop), connected()
    await pool.close()
    pool.give(wire, origin)
    assert transport.aborted


async def test_a_connection_is_clean_only_when_nothing_is_left_on_it() -> None:
    wire, transport = connected()
    assert wire.clean
    transport.unsent = 1
    assert not wire.clean
    transport.unsent = 0
    wire.data_received(OK)
    assert not wire.clean, "an answer that nobody has read"
    await wire.answer()
    assert wire.clean
    wire.expire()
    assert not wire.clean


async def test_deadlines_expire_in_time_and_never_early(loop: ManualLoop) -> None:
    deadlines = Deadlines(cast(asyncio.AbstractEventLoop, loop))
    late, done = connected()[0], connected()[0]
    deadlines.add(late, loop.now + 1)
    slot = deadlines.add(done, loop.now + 1)
    assert len(loop.timers) == 1, "neighbours share a timer"
    deadlines.discard(done, slot)
    loop.move(0.999)
    assert not late.expired
    loop.move(0.002 + SLOT_S)
    assert (late.expired, done.expired) == (True, False)
    deadlines.discard(late, slot)


async def test_closing_expires_everything(loop: ManualLoop) -> None:
    deadlines, (wire, transport) = Deadlines(cast(asyncio.AbstractEventLoop, loop)), connected()
    deadlines.add(wire, loop.now + 20)
    deadlines.close()
    assert wire.expired
    assert transport.aborted
    loop.move(30)


async def test_a_body_with_broken_framing_ends_at_once() -> None:
    wire, _ = connected()
    wire.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    message, payload = await wire.answer()
    reading = asyncio.ensure_future(wire.body(payload, 100))
    asyncio.get_running_loop().call_soon(wire.data_received, b"zz\r\n")
    assert (message.code, await reading) == (200, (b"half", True))


async def test_the_beginning_of_a_broken_body_is_stored() -> None:
    wire, _ = connected()
    wire.data_received(b"HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nhalf")
    _, payload = await wire.answer()
    wire.connection_lost(ConnectionResetError())
    assert await wire.body(payload, 100) == (b"half", True)
    assert await wire.body(payload, 3) == (b"hal", True)


async def test_endless_informational_responses_are_a_failure() -> None:
    sender = HttpSender(LOCAL)
    await sender.start()
    async with FaultServer(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIM + 1) + OK)) as server:
        refused(await sender.send(post(server.url)), "protocol")
    async with FaultServer(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * MAX_INTERIM + OK)) as server:
        replied(await sender.send(post(server.url)), 200)
    await sender.close()


async def test_the_request_is_these_bytes() -> None:
    sender = HttpSender(LOCAL)
    await sender.start()
    async with FaultServer(obliging) as server:
        replied(await sender.send(post(server.url, body=b"{}", user_agent="H/1", webhook_id="evt_1")), 200)
    await sender.close()
    assert server.requests == [
        b"POST /hook HTTP/1.1\r\n"
        + f"host: 127.0.0.1:{server.port}\r\n".encode()
        + b"accept-encoding: identity\r\nuser-agent: H/1\r\nwebhook-id: evt_1\r\ncontent-length: 2\r\n\r\n{}"
    ]


async def test_closing_the_sender_ends_exchanges_in_progress() -> None:
    sender = HttpSender(LOCAL)
    await sender.start()
    asked = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await conversation.until_gone()

    async with FaultServer(script) as server:
        sending = asyncio.ensure_future(sender.send(post(server.url)))
        await asked.wait()
        await sender.close()
        refused(await sending, "timeout")
