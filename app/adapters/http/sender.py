"""Sends requests over aiohttp's connector and response parser, without the per-request objects of its session.

A session spends three quarters of a request's CPU on URL, header, cookie and timer objects that a webhook does not
need. Connecting (happy eyeballs, TLS) and the C parser are aiohttp's. The request's bytes, the pool of idle
connections and the deadlines are implemented here. The rules:

- A connection carries one request at a time. The request is written as a whole, since it is in memory anyway. The
  deadline bounds receivers that read slowly, and an early response is read at once.
- A connection is reused only if the whole response was read, the whole request was sent, and no byte followed the
  response. Bytes that arrive on an idle connection disqualify it: they would answer the wrong request.
- A reused connection may be closed by the receiver already, or deliver the rest of an earlier response. If it ends
  before the first byte of a response, or its bytes are none, the request is sent once more on a fresh connection. The
  receiver may then get it twice, with the same event id.
- The deadline aborts the connection, which ends the exchange with an error. A cancellation closes the connection.
- No redirects, no cookies, no decompression: the response is stored as received.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import cast
from weakref import WeakValueDictionary

from aiohttp import ClientConnectorError, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from app.adapters.http.access_tokens import AccessTokens
from app.adapters.http.client_identities import ClientIdentities
from app.adapters.http.dns import NameResolver
from app.adapters.http.egress_guard import PinnedAddresses, address_check, guard, trust
from app.adapters.http.egress_proxy import Destination, EgressProxy
from app.adapters.http.hindrances import hindrance
from app.adapters.http.outcomes import (
    CONNECT_ERRORS,
    NETWORK_ERRORS,
    NoAnswer,
    blocked,
    readable,
    refusal,
    too_late,
    unresolved,
    unusable_certificate,
)
from app.adapters.http.pool import Deadlines, IdlePool, Origin
from app.adapters.http.wire import HttpConnection
from app.core.egress import EgressPolicy, check_url
from app.core.errors import Defect, Hindered
from app.core.model.http_exchange import HttpOutcome, HttpReply, HttpRequest, HttpTiming, TokenGrant

#: Endpoint URLs whose parsed form is cached.
MAX_TARGETS = 16_384

_NO_TIMEOUT = ClientTimeout()


class Target:
    """One endpoint URL, with the part of the request that is the same for all requests."""

    __slots__ = ("_head", "origin")

    def __init__(self, url: URL, origin: Origin) -> None:
        self.origin = origin
        self._head = (
            f" {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_port_subcomponent}\r\naccept-encoding: identity\r\n"
        )

    def render(self, request: HttpRequest) -> bytes:
        """The request's bytes, header values in UTF-8. Raises `Defect` when a header does not fit on one line."""
        fields = request.headers
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        if not lines.count("\r") == lines.count("\n") == len(fields):
            raise Defect("a header has a line break in its name or value")
        try:
            return (
                f"{request.method}{self._head}{lines}content-length: {len(request.body)}\r\n\r\n".encode()
                + request.body
            )
        except UnicodeEncodeError as error:
            raise Defect("a header holds half a character (a lone surrogate)") from error


class _Exchange:
    """The state shared by the steps of one `send`. Times are in seconds of `perf_counter`; `deadline` is loop time."""

    __slots__ = ("connected", "data", "deadline", "request", "reused", "started", "target", "written")

    def __init__(self, request: HttpRequest, target: Target, loop_now: float) -> None:
        self.request = request
        self.target = target
        self.data = target.render(request)
        self.started = self.connected = self.written = perf_counter()
        self.deadline = loop_now + request.timeout_s
        self.reused = True

    def timing(self, answered: float | None = None) -> HttpTiming:
        """The durations so far; `answered` is the time of the status line."""
        return HttpTiming(
            connect_ms=(self.connected - self.started) * 1000,
            first_byte_ms=0.0 if answered is None else (answered - self.written) * 1000,
            total_ms=(perf_counter() - self.started) * 1000,
            reused=self.reused,
        )


class _DeadOnArrival(Exception):
    """A reused connection ended before the first byte of the response, or delivered the rest of an earlier one."""


class HttpSender:
    """`app.ports.http.Sender` at a third of the cost of an aiohttp session. Start it in the loop that uses it."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        ca_file: Path | None = None,
        response_cap: int = 65_536,
        resolver: AbstractResolver | None = None,
        keepalive_s: float = 15.0,
        own_ports: Callable[[], Collection[int]] = frozenset,
        proxy: EgressProxy | None = None,
    ) -> None:
        """`own_ports`: see `guard`. `proxy`: what requests go through; None: they are sent directly."""
        self._policy = policy
        self._own_ports = own_ports
        self._proxy = proxy
        self._ca_file = ca_file
        self._context = trust(ca_file)
        self._cap = response_cap
        self._resolver = resolver or NameResolver()
        self._keepalive_s = keepalive_s

    async def start(self) -> None:
        """Bind to the running loop; opens no connection."""
        self._loop = asyncio.get_running_loop()
        self._connector = TCPConnector(
            limit=0,
            ssl=self._context,
            resolver=PinnedAddresses(),
            use_dns_cache=False,
            socket_factory=guard(self._policy, self._own_ports),
        )
        self._connector._factory = cast("partial[ResponseHandler]", partial(HttpConnection, self._loop))
        self._pool = IdlePool(self._loop, self._keepalive_s)
        self._deadlines = Deadlines(self._loop)
        self._origins: WeakValueDictionary[URL, Origin] = WeakValueDictionary()
        self._tokens = AccessTokens(self.send)
        self._identities = ClientIdentities(self._ca_file, self._read_target)
        self._target = lru_cache(MAX_TARGETS)(self._read_target)

    async def close(self) -> None:
        """Close all connections; an exchange still in progress ends as a timeout."""
        await self._tokens.close()
        self._deadlines.close()
        await self._pool.close()
        await self._connector.close()
        await self._resolver.close()

    def trouble(self) -> str | None:
        """The reason why no name can be looked up; None if DNS works."""
        return self._resolver.trouble if isinstance(self._resolver, NameResolver) else None

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """See `app.ports.http.Sender`."""
        credential = request.credential
        if credential is None:
            target = self._target(request.url)
        elif isinstance(credential, TokenGrant):
            return await self._tokens.send(request, credential)
        else:
            try:
                target = await self._identities.target(request.url, credential)
            except (ssl.SSLError, OSError) as error:
                return unusable_certificate(error)
        if isinstance(target, str):
            return blocked(target)
        exchange = _Exchange(request, target, self._loop.time())
        idle = self._pool.take(target.origin)
        if idle is not None:
            try:
                return await self._converse(idle, exchange)
            except _DeadOnArrival:
                exchange.reused = False
        return await self._connect(exchange)

    def _read_target(self, text: str, context: ssl.SSLContext | None = None) -> Target | str:
        """The target of an endpoint's URL, or the reason why nothing may be sent to it.

        With a TLS context of its own it has connections of its own; otherwise those of all targets of its origin.
        """
        reason = check_url(text, self._policy)
        if reason is not None:
            return reason
        url = URL(text, encoded=True)  # `check_url` accepts only URLs that need no quoting
        base = url.origin()
        if context is not None:
            return Target(url, Origin(base, self._loop, context))
        origin = self._origins.get(base)
        if origin is None:
            origin = self._origins[base] = Origin(base, self._loop)
        return Target(url, origin)

    async def _connect(self, exchange: _Exchange) -> HttpOutcome:
        """Make the exchange on a fresh connection."""
        origin = exchange.target.origin
        exchange.reused = False
        families: Collection[socket.AddressFamily] = origin.families
        addresses: list[ResolveResult] = []
        try:
            async with asyncio.timeout_at(exchange.deadline):
                if origin.name is not None:
                    addresses = await self._resolver.resolve(origin.name, origin.port)
                    families = {socket.AddressFamily(each["family"]) for each in addresses}
                if self._proxied(origin):
                    wire = await self._tunnel(origin, addresses)
                else:
                    PinnedAddresses.pin(addresses)
                    direct = await self._connector._create_connection(origin.template, [], _NO_TIMEOUT)
                    wire = cast(HttpConnection, direct)
        except TimeoutError:
            self._raise_trouble(origin)
            return too_late(exchange.request.timeout_s, exchange.timing(), connecting=True)
        except socket.gaierror as error:
            return unresolved(origin.name or "", error, exchange.timing())
        except CONNECT_ERRORS as error:
            own = hindrance(error.os_error if isinstance(error, ClientConnectorError) else error, families)
            if own is not None:
                raise own from error
            return refusal(error, exchange.timing(), connecting=True, tls=origin.tls)
        except MemoryError as error:
            raise Hindered("memory", "this process has no memory left for a connection") from error
        exchange.connected = perf_counter()
        wire.accept(self._cap)
        return await self._converse(wire, exchange)

    def _proxied(self, origin: Origin) -> bool:
        return self._proxy is not None and self._proxy.covers(origin.template.url.raw_host or "", origin.port)

    async def _tunnel(self, origin: Origin, addresses: list[ResolveResult]) -> HttpConnection:
        """A connection through the proxy, to an address that the guard permits."""
        assert self._proxy is not None
        places = [Destination(each["family"], each["host"]) for each in addresses]
        places += [Destination(family, origin.template.url.raw_host or "") for family in origin.families]
        check, context = address_check(self._policy, self._own_ports), origin.context or self._context
        return await self._proxy.connect(origin, places, check, context)

    def _raise_trouble(self, origin: Origin) -> None:
        """Raise `Hindered` if DNS is down or the proxy is silent: then the time-out is not the receiver's fault."""
        if self._proxy is not None and self._proxied(origin):
            self._proxy.raise_late()
        trouble = self.trouble()
        if origin.name is not None and trouble is not None:
            raise Hindered("dns", f"{origin.name} cannot be looked up: {trouble}")

    async def _converse(self, wire: HttpConnection, exchange: _Exchange) -> HttpOutcome:
        """Write the request and read the answer."""
        slot = self._deadlines.add(wire, exchange.deadline)
        complete = False
        wire.begin()
        try:
            if wire.transport is not None:  # otherwise it has just ended, and `answer` raises the reason
                wire.transport.write(exchange.data)
            exchange.written = perf_counter()
            message, payload = await wire.answer()
            answered = perf_counter()
            body, truncated = await wire.body(payload, self._cap)
            complete = not truncated
        except NETWORK_ERRORS as error:
            timing = exchange.timing()
            if wire.expired:
                return too_late(exchange.request.timeout_s, timing, connecting=False)
            if exchange.reused and (not wire.received or isinstance(error, NoAnswer)):
                raise _DeadOnArrival from error
            return refusal(error, timing, connecting=False, tls=exchange.target.origin.tls)
        finally:
            self._deadlines.discard(wire, slot)
            if complete and wire.clean:
                self._pool.give(wire, exchange.target.origin)
            else:
                wire.cut()
        return HttpReply(
            status=message.code,
            headers=readable(message.headers),
            body=body,
            truncated=truncated,
            timing=exchange.timing(answered),
            remarks=() if wire.remark is None else (wire.remark,),
        )
