"""Keep the roles of a process running: a role that fails is built anew, the others never notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from app.core.errors import HookstreamError
from app.ports import Clock, Meter

log = structlog.get_logger(__name__)

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
_HEALTHY_AFTER_S = 60.0


class Role(Protocol):
    """A part that runs on its own."""

    async def run(self) -> None:
        """Work until cancelled; stop within seconds then. Raising asks for a fresh instance."""
        ...

    def ready(self) -> str | None:
        """None when it would act on a new event; else why not."""
        ...


class Supervisor:
    """Runs each role in a task of its own and restarts it with growing pauses."""

    def __init__(self, makers: Mapping[str, Callable[[], Role]], clock: Clock, meter: Meter) -> None:
        self._makers = makers
        self._clock = clock
        self._meter = meter
        self._roles: dict[str, Role | None] = dict.fromkeys(makers)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all roles."""
        self._tasks = [asyncio.create_task(self._keep(name), name=name) for name in self._makers]

    async def stop(self, timeout_s: float = 12.0) -> bool:
        """Cancel all and wait (bounded); False when one did not end in time."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return True
        _, left = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in left:
            log.error("role.did_not_stop", role=task.get_name())
        return not left

    def readiness(self) -> dict[str, str | None]:
        """For each role None, or why it is not ready."""
        return {name: role.ready() if role else "starting" for name, role in self._roles.items()}

    async def _keep(self, name: str) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            begun = self._clock.monotonic()
            try:
                role = self._roles[name] = self._makers[name]()
                await role.run()
                reason = "it ended by itself"
            except HookstreamError as error:
                reason = str(error)
            except Exception as error:
                log.exception("role.failed", role=name)
                reason = repr(error)
            self._roles[name] = None
            if self._clock.monotonic() - begun > _HEALTHY_AFTER_S:
                backoff_s = _FIRST_BACKOFF_S
            log.warning("role.restarting", role=name, reason=reason, in_s=backoff_s)
            self._meter.count("role_restarts_total", role=name)
            await self._clock.sleep(backoff_s)
            backoff_s = min(_LAST_BACKOFF_S, backoff_s * 2)
