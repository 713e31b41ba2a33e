"""/healthz, /readyz and /metrics of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from app.core.errors import Unavailable


class ProbeServer:
    """A small HTTP server for the platform and Prometheus."""

    def __init__(
        self, host: str, port: int, *, setting: str, exposition: Callable[[], bytes],
        readiness: Callable[[], Mapping[str, str | None]],
    ) -> None:  # fmt: skip
        """`setting` is named when the port is taken."""
        self._host = host
        self._port = port
        self._setting = setting
        self._exposition = exposition
        self._readiness = readiness
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> int:
        """Listen; returns the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, shutdown_timeout=1.0)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise Unavailable(
                f"port {self._port} of {self._host} cannot be listened on ({error.strerror}): choose another with "
                f"{self._setting} (0 = any free one)"
            ) from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        roles = self._readiness()
        waiting = {name: reason for name, reason in roles.items() if reason is not None}
        body = orjson.dumps(
            {"ready": not waiting, "roles": {name: reason or "ready" for name, reason in roles.items()}}
        )
        return web.Response(body=body, status=503 if waiting else 200, content_type="application/json")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=self._exposition(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )  # fmt: skip
