"""Listen for an HTTP application, and the probes that every process answers: /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Callable, Mapping

import msgspec
import orjson
import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from app.adapters.clock import SystemClock
from app.adapters.http.listener import Listener, OnClosed
from app.core.connection_book import ConnectionLimits
from app.core.errors import Defect, Unavailable

logger = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_LIMITS = ConnectionLimits()
#: for a port that serves probes alone
PROBE_LIMITS = ConnectionLimits(total=128, per_address=0, idle_s=75.0)
#: seconds that unfinished requests get at a stop
_DRAIN_S = 2.0
#: seconds for which an unread request body is received and discarded, so that the client gets the response
_LINGER_S = 2.0
#: descriptors that connections leave for the rest of the process
_RESERVED_DESCRIPTORS = 256


class _Refusals(logging.Filter):
    """Drops aiohttp's tracebacks about invalid requests, with which any client could fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about a fault of the service."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError | web.RequestPayloadError)


_logger = logging.getLogger("hookstream.http")
_logger.addFilter(_Refusals())


class WebServer:
    """One application on one port."""

    def __init__(
        self,
        host: str,
        port: int,
        application: web.Application,
        *,
        setting: str,
        elsewhere: bool = False,
        limits: ConnectionLimits = _LIMITS,
        on_closed: OnClosed = lambda reason: None,
    ) -> None:
        """`setting` is named in the error if the port is in use; `elsewhere`: choose any free port instead."""
        self._host = host
        self._port = port
        self._setting = setting
        self._elsewhere = elsewhere
        self._listener = Listener(_within_descriptors(limits), SystemClock(), on_closed, PROBES)
        # The listener closes idle connections, so aiohttp's own timeout only has to be longer.
        # Handlers decompress bodies within a bound; the parser would inflate them without one.
        self._runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=_DRAIN_S,
            auto_decompress=False,
            logger=_logger,
            keepalive_timeout=limits.idle_s + 10,
            lingering_time=_LINGER_S,
        )

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._listener.connections

    async def start(self) -> int:
        """Listen. Returns the port; raises `Unavailable`."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise Defect("the runner has no server")
        server.request_handler = self._listener.admitting(server.request_handler)
        try:
            return await self._listen(self._port)
        except OSError as error:
            if not (self._elsewhere and error.errno == errno.EADDRINUSE):
                await self._runner.cleanup()
                raise _taken(self._host, self._port, self._setting, error) from error
        port = await self._listen(0)
        logger.warning("web.other_port", wanted=self._port, port=port, setting=self._setting)
        return port

    async def _listen(self, port: int) -> int:
        server = self._runner.server
        if server is None:
            raise Defect("the runner has no server")
        return await self._listener.start(self._host, port, server)

    async def stop(self) -> None:
        """Stop listening, wait for unfinished requests (bounded), and close all connections."""
        await self._listener.stop()
        await self._runner.cleanup()
        self._listener.abort()


async def require_free_port(host: str, port: int, setting: str) -> None:
    """Raise `Unavailable`, with the remedy, when no server can listen on the port; `setting` chooses the port."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    except OSError as error:
        raise _taken(host, port, setting, error) from error
    server.close()
    await server.wait_closed()


def _taken(host: str, port: int, setting: str, error: OSError) -> Unavailable:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return Unavailable(
        f"Cannot listen on port {port} of {host}: {reason}. Stop the process that uses the port, or choose another one "
        f"with {setting} (0 = any free port)."
    )


def _within_descriptors(limits: ConnectionLimits) -> ConnectionLimits:
    available = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if available == resource.RLIM_INFINITY:
        return limits
    most = max(16, available - _RESERVED_DESCRIPTORS - limits.reserve)
    return msgspec.structs.replace(limits, total=min(limits.total, most))


def web_application() -> web.Application:
    """An application without routes."""
    return web.Application()


def add_probes(
    application: web.Application,
    exposition: Callable[[], bytes],
    readiness: Callable[[], Mapping[str, str | None]],
    more: Callable[[], Mapping[str, object]] = dict,
) -> web.Application:
    """Add the three routes. `more` returns further members for /readyz, which do not affect its status."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        roles = readiness()
        waiting = {name: reason for name, reason in roles.items() if reason is not None}
        states = {name: reason or "ready" for name, reason in roles.items()}
        body = orjson.dumps({"ready": not waiting, "roles": states, **more()})
        return web.Response(body=body, status=503 if waiting else 200, content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application
