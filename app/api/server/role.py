"""The API as a role: open what the handlers need, listen, and close it all in the reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from app.api.request import ApiServices
from app.api.server.authentication import Authenticator
from app.api.server.rate_limits import CallLimits
from app.api.server.server import Server
from app.core.offsets.progress import RoleReport

#: adds the routes of the dashboard to the application
Mount = Callable[[ApiServices, Authenticator, Server, web.Application], None]
Listen = Callable[[web.Application], AbstractAsyncContextManager[int]]


class ApiRole:
    """One API process; any number may run."""

    def __init__(
        self,
        *,
        services: Callable[[], AbstractAsyncContextManager[ApiServices]],
        listen: Listen,
        operator_token: str | None,
        limits: Callable[[], CallLimits],
        version: str,
        mount: Mount,
    ) -> None:
        self._services = services
        self._listen = listen
        self._operator_token = operator_token
        self._limits = limits
        self._version = version
        self._mount = mount
        self._listening = False

    def ready(self) -> str | None:
        """None while the server listens, otherwise the reason."""
        return None if self._listening else "starting"

    def report(self) -> RoleReport:
        """The report for the watchdog. It is empty: the role reads no log, and each request has a time limit."""
        return RoleReport()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self._services() as services:
            gate = Authenticator(services.feed, self._operator_token)
            server = Server(services, gate, self._limits(), self._version)
            application = server.application()
            self._mount(services, gate, server, application)
            async with self._listen(application):
                self._listening = True
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self._listening = False
