"""Accept connections within limits: deadlines for heads and idle clients, room for newcomers, a reserve for probes.

aiohttp's own protocol implements HTTP. A `_Connection` in front of it sees the bytes and the transport of each
connection. Accepting is implemented here too: without descriptors, an idle connection is closed instead of the
listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import web

from app.core.connection_book import ConnectionBook, ConnectionLimits
from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

_BACKLOG = 1024
_SWEEP_S = 0.5
#: seconds between a failed accept and the next one
_ACCEPT_PAUSE_S = 0.02
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_SAY_S = 60.0
ConnectionHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
#: called with the reason for each connection that the listener closes
OnClosed = Callable[[str], None]


class Listener:
    """The connections of one application on one port."""

    def __init__(self, limits: ConnectionLimits, clock: Clock, on_closed: OnClosed, probes: frozenset[str]) -> None:
        """`probes`: paths that are also answered on connections of the reserve."""
        self._book = ConnectionBook(limits)
        self._clock = clock
        self._on_closed = on_closed
        self._probes = probes
        self._make: Callable[[], asyncio.Protocol] = asyncio.Protocol
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: dict[int, _Connection] = {}
        self._numbers: dict[object, int] = {}
        self._next = 0
        self._complained_at = -_EXHAUSTED_SAY_S

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def start(self, host: str, port: int, make: Callable[[], asyncio.Protocol]) -> int:
        """Listen on every address of the host. Returns the port; raises `OSError`."""
        self._make = make
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(addresses):
                self._sockets.append(_listening_socket(family, (address[0], port, *address[2:])))
                port = self._sockets[-1].getsockname()[1]
        except OSError:
            self._close_sockets()
            raise
        self._tasks = [loop.create_task(self._accept(each)) for each in self._sockets]
        self._tasks.append(loop.create_task(self._sweep()))
        return port

    async def stop(self) -> None:
        """Stop accepting; open connections continue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._close_sockets()

    def abort(self) -> None:
        """Close the connections that are still open."""
        for number in list(self._connections):
            self._shut(number, None)

    def admitting(self, handler: ConnectionHandler) -> ConnectionHandler:
        """Wrap a handler: record the beginning and end of requests, and answer only probes in the reserve."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            number = self._numbers.get(request.protocol, -1)
            reserve = self._book.began(number, self._clock.monotonic()) == "reserve"
            try:
                if request.headers.get("Expect", "100-continue").lower() != "100-continue":
                    return web.Response(status=417)  # aiohttp would quote the value, and fail if it is not text
                if not reserve:
                    return await handler(request)
                response = await handler(request) if request.path in self._probes else _full()
                response.force_close()
                return response
            finally:
                self._book.ended(number, self._clock.monotonic())

        return handle

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._exhausted(error)
                await asyncio.sleep(_ACCEPT_PAUSE_S)  # otherwise the client disconnected before the accept
                continue
            try:
                await loop.connect_accepted_socket(lambda: _Connection(self, self._make()), accepted)
            except (OSError, RuntimeError):
                accepted.close()

    def _exhausted(self, error: OSError) -> None:
        for number in self._book.make_room():
            self._shut(number, "exhausted")
        now = self._clock.monotonic()
        if now - self._complained_at >= _EXHAUSTED_SAY_S:
            self._complained_at = now
            logger.error("web.descriptors_exhausted", error=error.strerror, connections=len(self._connections))

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_S)
            for number, reason in self._book.overdue(self._clock.monotonic()):
                self._shut(number, reason)

    def opened(self, connection: _Connection, address: str) -> bool:
        """Admit a connection, perhaps by closing others; False if there is no room."""
        self._next += 1
        admitted, closed = self._book.open(self._next, address, self._clock.monotonic())
        for number in closed:
            self._shut(number, "displaced")
        if admitted == "refused":
            self._on_closed("refused")
            return False
        connection.number = self._next
        self._connections[self._next] = connection
        self._numbers[connection.inner] = self._next
        return True

    def received(self, number: int) -> None:
        """Record that bytes arrived."""
        self._book.received(number, self._clock.monotonic())

    def unread(self, number: int, stalled: bool) -> None:
        """Record that the client has stopped reading its response (`stalled`), or reads again."""
        self._book.unread(number, self._clock.monotonic() if stalled else None)

    def lost(self, connection: _Connection) -> None:
        """Remove a connection that has ended."""
        self._book.close(connection.number)
        self._connections.pop(connection.number, None)
        self._numbers.pop(connection.inner, None)

    def _shut(self, number: int, reason: str | None) -> None:
        connection = self._connections.get(number)
        if connection is None:
            return
        if reason is not None:
            self._on_closed(reason)
        self._book.close(number)
        connection.abort()

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = []


class _Connection(asyncio.Protocol):
    """Passes events between a transport and aiohttp's protocol, and reports them to the listener."""

    def __init__(self, listener: Listener, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.number = 0
        self._listener = listener
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if self._listener.opened(self, str(peer[0]) if peer else ""):
            self.inner.connection_made(transport)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self.number:
            self._listener.received(self.number)
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self.number else None

    def pause_writing(self) -> None:
        if self.number:
            self._listener.unread(self.number, True)
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self.number:
            self._listener.unread(self.number, False)
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.number:
            self._listener.lost(self)
            self.inner.connection_lost(exc)

    def abort(self) -> None:
        """Close the connection and drop unsent bytes, since a client that does not read would hold it open."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()


def _listening_socket(family: int, address: Any) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        with contextlib.suppress(OSError):
            listening.close()
        raise
    return listening


def _full() -> web.Response:
    return web.Response(status=503, text="too many connections\n", headers={"Retry-After": "1"})
