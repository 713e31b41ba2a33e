"""The same port on a plain, tuned ClientSession: fallback, oracle of the contract suite, baseline of the bench."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from aiohttp import (
    ClientConnectorError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    TraceConfig,
)
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from app.adapters.http.dns import NameResolver
from app.adapters.http.egress_guard import guard, trust
from app.adapters.http.outcomes import CONNECT_ERRORS, NETWORK_ERRORS, blocked, readable, refusal, too_late
from app.core.egress import EgressPolicy, check_url
from app.core.errors import Defect
from app.core.model.http_exchange import HttpOutcome, HttpReply, HttpRequest, HttpTiming

_AUTOMATIC = ("accept", "content-type", "user-agent")


class _Watch:
    """What the session's trace tells of a request under way; times are in seconds."""

    def __init__(self) -> None:
        self.started = self.connected = perf_counter()
        self.connecting = True
        self.reused = False

    def timing(self, answered: float | None = None) -> HttpTiming:
        return HttpTiming(
            connect_ms=0.0 if self.reused else (self.connected - self.started) * 1000,
            first_byte_ms=0.0 if answered is None else (answered - self.connected) * 1000,
            total_ms=(perf_counter() - self.started) * 1000,
            reused=self.reused,
        )


class HttpSessionSender:
    """`app.ports.http.Sender` as aiohttp's users would write it. Start it inside the event loop that will use it."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        ca_file: Path | None = None,
        response_cap: int = 65_536,
        resolver: AbstractResolver | None = None,
        keepalive_s: float = 15.0,
    ) -> None:
        self._policy = policy
        self._context = trust(ca_file)
        self._cap = response_cap
        self._resolver = resolver or NameResolver()
        self._keepalive_s = keepalive_s

    async def start(self) -> None:
        """Bind to the running loop; opens no connection."""
        connector = TCPConnector(
            limit=0,
            ssl=self._context,
            resolver=self._resolver,
            socket_factory=guard(self._policy),
            keepalive_timeout=self._keepalive_s,
        )
        self._target = lru_cache(16_384)(self._read_target)
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            trace_configs=[self._trace()],
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._resolver.close()

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """See `app.ports.http.Sender`."""
        target = self._target(request.url)
        if isinstance(target, str):
            return blocked(target)
        started = perf_counter()
        while True:
            watch = _Watch()
            try:
                return await self._exchange(target, request, watch, request.timeout_s - (watch.started - started))
            except TimeoutError:
                return too_late(request.timeout_s, watch.timing(), connecting=watch.connecting)
            except CONNECT_ERRORS as error:
                if watch.reused and _unheard(error):
                    continue
                connecting = watch.connecting or isinstance(error, ClientConnectorError)
                timing = watch.timing()
                return refusal(error, timing, connecting=connecting, tls=target.scheme == "https")
            except ValueError as error:
                raise Defect("a header cannot be written as one line") from error

    def _read_target(self, text: str) -> URL | str:
        return check_url(text, self._policy) or URL(text, encoded=True)

    async def _exchange(self, target: URL, request: HttpRequest, watch: _Watch, timeout_s: float) -> HttpOutcome:
        "".join([value for _, value in request.headers]).encode()  # raises for half a character, which aiohttp writes
        async with self._session.request(
            request.method,
            target,
            data=request.body,
            headers=CIMultiDict((("accept-encoding", "identity"), *request.headers)),
            allow_redirects=False,
            timeout=ClientTimeout(total=timeout_s, ceil_threshold=math.inf),
            trace_request_ctx=watch,
        ) as response:
            answered = perf_counter()
            body, truncated = await self._body(response)
            if truncated:
                response.close()
            return HttpReply(
                status=response.status,
                headers=readable(response.headers),
                body=body,
                truncated=truncated,
                timing=watch.timing(answered),
            )

    async def _body(self, response: ClientResponse) -> tuple[bytes, bool]:
        chunks: list[bytes] = []
        size = 0
        try:
            while size <= self._cap and not response.content.at_eof():
                chunks.append(await response.content.readany())
                size += len(chunks[-1])
        except NETWORK_ERRORS:
            size = self._cap + 1
        return b"".join(chunks)[: self._cap], size > self._cap

    def _trace(self) -> TraceConfig:
        async def connected(_: ClientSession, context: SimpleNamespace, __: Any) -> None:
            context.trace_request_ctx.connecting = False
            context.trace_request_ctx.connected = perf_counter()

        async def reused(_: ClientSession, context: SimpleNamespace, __: Any) -> None:
            context.trace_request_ctx.connecting = False
            context.trace_request_ctx.reused = True

        trace = TraceConfig()
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(reused)
        return trace


def _unheard(error: BaseException) -> bool:
    """The connection broke before a byte of the answer (after a reset the session cannot tell: taken as yes)."""
    if isinstance(error, ServerDisconnectedError):
        return isinstance(error.message, str)
    return isinstance(error, OSError) and not isinstance(error, ClientConnectorError)
