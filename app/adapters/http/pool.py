"""The pool of idle HTTP connections, and the deadlines of busy ones."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque

from aiohttp import ClientRequest
from aiohttp.helpers import is_ip_address
from yarl import URL

from app.adapters.http.wire import HttpConnection

#: Idle connections of all origins; beyond this number the one that has been idle longest is closed.
MAX_IDLE = 1024
#: Deadlines are grouped in slots of this many seconds; an exchange ends at most that late.
SLOT_S = 0.05


class Origin:
    """A scheme, host and port, with its idle connections."""

    __slots__ = ("__weakref__", "context", "families", "idle", "name", "port", "template", "tls")

    def __init__(self, url: URL, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None = None) -> None:
        """`context`: TLS with a client certificate; None: that of the sender."""
        self.context = context
        self.tls = url.scheme == "https"
        host = url.raw_host or ""
        literal = is_ip_address(host)
        #: the host name to look up; None: the host is an address
        self.name = None if literal else host
        self.port = url.port or 0
        #: the address family, if the host is an address
        self.families = (socket.AF_INET6 if ":" in host else socket.AF_INET,) if literal else ()
        #: the request that the connector requires in order to connect; never sent
        self.template = ClientRequest("POST", url, loop=loop, ssl=context or True)
        #: the one that has been idle longest is first
        self.idle: deque[HttpConnection] = deque()


class IdlePool:
    """The idle connections of all origins; each is closed after `keepalive_s` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, keepalive_s: float) -> None:
        self._loop = loop
        self._keepalive_s = keepalive_s
        #: the one that has been idle longest is first
        self._idle: dict[HttpConnection, Origin] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, origin: Origin) -> HttpConnection | None:
        """The connection that was used last, if it is still usable; unusable ones are closed."""
        while origin.idle:
            wire = origin.idle.pop()
            del self._idle[wire]
            if not wire.received and wire.is_connected() and self._loop.time() - wire.idle_since < self._keepalive_s:
                return wire
            wire.cut()
        return None

    def give(self, wire: HttpConnection, origin: Origin) -> None:
        """Return a clean connection to the pool."""
        if self._closed:
            wire.cut()
            return
        wire.received = False
        wire.idle_since = self._loop.time()
        origin.idle.append(wire)
        self._idle[wire] = origin
        if len(self._idle) > MAX_IDLE:
            self._drop(next(iter(self._idle)))
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keepalive_s, self._drop_old)

    async def close(self) -> None:
        """Close the idle connections, and from now on each connection that is returned."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        ends = [wire.closed for wire in self._idle]
        for wire in list(self._idle):
            self._drop(wire)
        await asyncio.gather(*(end for end in ends if end is not None), return_exceptions=True)

    def _drop(self, wire: HttpConnection) -> None:
        self._idle.pop(wire).idle.remove(wire)
        wire.cut()

    def _drop_old(self) -> None:
        horizon = self._loop.time() - self._keepalive_s
        while self._idle and (oldest := next(iter(self._idle))).idle_since <= horizon:
            self._drop(oldest)
        wait_s = next(iter(self._idle)).idle_since - horizon if self._idle else None
        self._sweep = None if wait_s is None else self._loop.call_later(max(1.0, wait_s), self._drop_old)


class Deadlines:
    """Many deadlines on few timers: connections share slots of `SLOT_S`, and a slot has one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[HttpConnection]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, wire: HttpConnection, when: float) -> int:
        """Expire the connection at loop time `when`, or up to `SLOT_S` later; returns the slot for `discard`."""
        slot = int(when / SLOT_S) + 1
        wires = self._slots.get(slot)
        if wires is None:
            wires = self._slots[slot] = set()
            self._timers[slot] = self._loop.call_at(slot * SLOT_S, self._expire, slot)
        wires.add(wire)
        return slot

    def discard(self, wire: HttpConnection, slot: int) -> None:
        """The exchange ended."""
        wires = self._slots.get(slot)
        if wires is not None:
            wires.discard(wire)

    def close(self) -> None:
        """Expire all exchanges in progress."""
        for slot in list(self._slots):
            self._timers[slot].cancel()
            self._expire(slot)

    def _expire(self, slot: int) -> None:
        del self._timers[slot]
        for wire in self._slots.pop(slot):
            wire.expire()
