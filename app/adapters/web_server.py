"""Listen for an HTTP application, and the probes that every process answers: /healthz, /readyz and /metrics."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

import orjson
import structlog
from aiohttp import web

from app.core.errors import Unavailable

log = structlog.get_logger(__name__)

#: requests under way at a stop get that long
_DRAIN_S = 2.0


class WebServer:
    """One application on one port."""

    def __init__(
        self, host: str, port: int, application: web.Application, *, setting: str, elsewhere: bool = False
    ) -> None:  # fmt: skip
        """`setting` is named when the port is taken; `elsewhere`: then any free one will do."""
        self._host = host
        self._port = port
        self._setting = setting
        self._elsewhere = elsewhere
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_DRAIN_S)

    async def start(self) -> int:
        """Listen; returns the port."""
        await self._runner.setup()
        try:
            await self._listen(self._port)
        except OSError as error:
            if not (self._elsewhere and error.errno == errno.EADDRINUSE):
                await self._runner.cleanup()
                raise Unavailable(
                    f"port {self._port} of {self._host} cannot be listened on ({error.strerror}): choose another with "
                    f"{self._setting} (0 = any free one)"
                ) from error
            await self._listen(0)
            log.warning("web.other_port", wanted=self._port, port=self._runner.addresses[0][1], setting=self._setting)
        return int(self._runner.addresses[0][1])

    async def _listen(self, port: int) -> None:
        await web.TCPSite(self._runner, self._host, port).start()

    async def stop(self) -> None:
        """Listen no more, let requests under way end (bounded), close."""
        await self._runner.cleanup()


def web_application() -> web.Application:
    """One without routes."""
    return web.Application()


def add_probes(
    application: web.Application, exposition: Callable[[], bytes], readiness: Callable[[], Mapping[str, str | None]]
) -> web.Application:
    """Add the three routes."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        roles = readiness()
        waiting = {name: reason for name, reason in roles.items() if reason is not None}
        told = {name: reason or "ready" for name, reason in roles.items()}
        body = orjson.dumps({"ready": not waiting, "roles": told})
        return web.Response(body=body, status=503 if waiting else 200, content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=exposition(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )  # fmt: skip

    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application
