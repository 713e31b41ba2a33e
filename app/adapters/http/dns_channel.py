"""One query to the name servers through c-ares, on the event loop; it can be cancelled.

Each query has a channel of its own, which costs about 30 µs. So it can be cancelled alone, it reads the current
resolv.conf and /etc/hosts, and a name whose servers are dead does not delay the queries for other names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pycares

#: seconds for the first try, and the number of tries; c-ares waits longer for each one
TRY_S = 1.5
TRIES = 2
_TICK_S = 1.0


class DnsChannel:
    """Call `addresses` or `root` once. `done(result, error)` is called once, unless `close` is called before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, servers: Sequence[str]) -> None:
        """Raises `pycares.AresError` when c-ares lacks memory or descriptors."""
        self._loop = loop
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ares = pycares.Channel(
            sock_state_cb=self._watch, timeout=TRY_S, tries=TRIES, servers=list(servers) or None
        )

    def addresses(self, host: str, done: Callable[[Any, int | None], None]) -> None:
        """Query the IPv4 and IPv6 addresses of a name; /etc/hosts and search domains are used."""
        self._ask(lambda once: self._ares.getaddrinfo(host, None, type=1, callback=once), done)

    def root(self, done: Callable[[Any, int | None], None]) -> None:
        """Query the name servers of the root, which every resolver can answer."""
        self._ask(lambda once: self._ares.query(".", pycares.QUERY_TYPE_NS, callback=once), done)

    def close(self) -> None:
        """Cancel the query and free its resources. Must not be called from inside `done`."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for fd in self._readers:
            self._loop.remove_reader(fd)
        for fd in self._writers:
            self._loop.remove_writer(fd)
        self._ares.cancel()
        self._ares.close()

    def _ask(self, ask: Callable[[Any], None], done: Callable[[Any, int | None], None]) -> None:
        answered = False

        def once(result: Any, error: int | None) -> None:
            nonlocal answered
            if not answered and not self._closed:
                answered = True
                done(result, error)

        try:
            ask(once)
        except pycares.AresError as error:
            once(None, error.args[0] if error.args else pycares.errno.ARES_EFORMERR)
        if not self._closed and not answered:
            self._tick()

    def _watch(self, fd: int, readable: bool, writable: bool) -> None:
        if self._closed:  # c-ares destroys the channel, in a thread of its own
            return
        if readable:
            self._readers.add(fd)
            self._loop.add_reader(fd, self._process, fd, pycares.ARES_SOCKET_BAD)
        elif fd in self._readers:
            self._readers.discard(fd)
            self._loop.remove_reader(fd)
        if writable:
            self._writers.add(fd)
            self._loop.add_writer(fd, self._process, pycares.ARES_SOCKET_BAD, fd)
        elif fd in self._writers:
            self._writers.discard(fd)
            self._loop.remove_writer(fd)

    def _process(self, reading: int, writing: int) -> None:
        if not self._closed:
            self._ares.process_fd(reading, writing)

    def _tick(self) -> None:
        """Let c-ares process its timeouts, and schedule the next call."""
        self._process(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        if not self._closed:
            wait_s: float = self._ares.timeout(_TICK_S)  # type: ignore[no-untyped-call]
            self._timer = self._loop.call_later(max(0.02, wait_s or _TICK_S), self._tick)
