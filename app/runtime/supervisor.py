"""Keep the roles of a process running: a role that fails or is stuck is restarted without affecting the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Protocol

import structlog

from app.core.errors import Defect, HookstreamError, LogMoved
from app.core.offsets.progress import RoleReport
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.runtime.watchdog import RestartBudget

logger = structlog.get_logger(__name__)

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
#: seconds between two looks whether a role can be started
_OBSTACLE_S = 1.0
_HEALTHY_AFTER_S = 60.0
#: so long after an end its reason may be that of a new start which takes its time
_RECENT_S = 600.0
_WARNINGS = 20
_STOP_S = 12.0
#: a stuck role that does not stop within that time cannot be replaced
_STUCK_STOP_S = 20.0


class Role(Protocol):
    """A role: a part of the service that can run in a process of its own."""

    async def run(self) -> None:
        """Work until cancelled, then stop within seconds. After an exception a fresh instance is started."""
        ...

    def ready(self) -> str | None:
        """None when the role can process new events; otherwise the reason why it cannot."""
        ...

    def report(self) -> RoleReport:
        """The limits of the watchdog; see the rules of runtime/watchdog.py."""
        ...


class _SupervisedRole:
    """The state of one role."""

    def __init__(self, patience: RestartBudget) -> None:
        self.patience = patience
        self.role: Role | None = None
        #: why it ended last; empty: it has not
        self.reason = ""
        #: time of the next restart (monotonic)
        self.again_s = 0.0
        #: what the watchdog says of it
        self.suspicion: str | None = None
        self.stuck: asyncio.Future[str] | None = None


class Supervisor:
    """Runs each role in a task of its own and restarts it with growing pauses."""

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Role]],
        clock: Clock,
        meter: Meter,
        *,
        stuck_restarts: int = 0,
        stuck_within_s: float = 1200.0,
        obstacle: Callable[[str], str | None] = lambda name: None,
        explain: Callable[[BaseException], str | None] = lambda error: None,
    ) -> None:
        """`obstacle`: why a role cannot be started at present; None: it can. `explain`: a sentence for an error that
        ended a role, if it is no defect.

        A role that is stuck more than `stuck_restarts` times within `stuck_within_s` is given up (`given_up`)."""
        self._makers = makers
        self._obstacle = obstacle
        self._explain = explain
        #: what operators should know of, the newest last
        self.warnings: deque[str] = deque(maxlen=_WARNINGS)
        self._clock = clock
        self._meter = meter
        self._supervised = {name: _SupervisedRole(RestartBudget(stuck_restarts, stuck_within_s)) for name in makers}
        self._tasks: list[asyncio.Task[None]] = []
        self._given_up: asyncio.Future[str] | None = None

    def start(self) -> None:
        """Start all roles."""
        self._given_up = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._keep(name), name=name) for name in self._makers]

    async def stop(self, timeout_s: float = _STOP_S) -> bool:
        """Cancel all and wait (bounded); False when one did not end in time."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return True
        _, left = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in left:
            logger.error("role.did_not_stop", role=task.get_name())
        return not left

    async def given_up(self) -> str:
        """Wait until a role cannot be restarted and the process must end; returns the reason. Call after `start`."""
        if self._given_up is None:
            raise Defect("the supervisor was not started")
        return await asyncio.shield(self._given_up)

    def readiness(self) -> dict[str, str | None]:
        """Role → None if it is ready, otherwise the reason why it is not."""
        return {name: self._unready(name, supervised) for name, supervised in self._supervised.items()}

    def _unready(self, name: str, supervised: _SupervisedRole) -> str | None:
        if supervised.role is not None:
            why = supervised.role.ready()
            recent = supervised.reason and self._clock.monotonic() - supervised.again_s < _RECENT_S
            if supervised.suspicion is None and why is not None and recent:
                return f"{why} (ended before: {supervised.reason})"
            return supervised.suspicion or why
        if not supervised.reason:
            return "starting"
        if (obstacle := self._obstacle(name)) is not None:
            return f"ended ({supervised.reason}), and not started again: {obstacle}"
        return f"restarting in {ceil(max(0.0, supervised.again_s - self._clock.monotonic()))} s: {supervised.reason}"

    def running(self, name: str) -> Role | None:
        """The current instance of a role; None between two instances."""
        return self._supervised[name].role

    def suspect(self, name: str, reason: str | None) -> None:
        """Set the watchdog's reason why the current instance is not ready; None: it is."""
        supervised = self._supervised[name]
        if self._condemned(supervised):
            return
        if reason is not None and supervised.suspicion is None:
            logger.warning("role.suspect", role=name, reason=reason)
            self._meter.count("watchdog_verdicts_total", role=name, verdict="suspect")
        elif reason is None and supervised.suspicion is not None:
            logger.warning("role.progress_resumed", role=name)
        supervised.suspicion = reason

    def stuck(self, name: str, reason: str) -> None:
        """End the current instance, because the watchdog judged it stuck."""
        supervised = self._supervised[name]
        if supervised.stuck is None or self._condemned(supervised):
            return
        self._meter.count("watchdog_verdicts_total", role=name, verdict="stuck")
        logger.error("role.stuck", role=name, reason=reason)
        supervised.suspicion = f"stuck: {reason}"
        if supervised.patience.gives_up(self._clock.monotonic()):
            self._give_up(name, reason)
        else:
            supervised.stuck.set_result(f"it was stuck: {reason}")

    def renew(self, name: str, reason: str) -> None:
        """Replace the current instance by a fresh one, without counting it as a failure."""
        supervised = self._supervised[name]
        if supervised.stuck is not None and not self._condemned(supervised):
            supervised.stuck.set_result(reason)

    def _condemned(self, supervised: _SupervisedRole) -> bool:
        """The instance is ending: ignore further observations."""
        ending = supervised.stuck is not None and supervised.stuck.done()
        return ending or (self._given_up is not None and self._given_up.done())

    def _give_up(self, name: str, reason: str) -> None:
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(f"the role {name} is stuck: {reason}")

    async def _keep(self, name: str) -> None:
        supervised = self._supervised[name]
        backoff_s = _FIRST_BACKOFF_S
        while True:
            while self._obstacle(name) is not None:
                await self._clock.sleep(_OBSTACLE_S)
            begun = self._clock.monotonic()
            supervised.stuck = asyncio.get_running_loop().create_future()
            supervised.reason = await self._run(name, supervised, supervised.stuck)
            stuck = supervised.stuck.done()
            supervised.role, supervised.suspicion = None, None
            if not stuck and self._clock.monotonic() - begun > _HEALTHY_AFTER_S:
                backoff_s = _FIRST_BACKOFF_S
            logger.warning("role.restarting", role=name, reason=supervised.reason, in_s=backoff_s)
            self._meter.count("role_restarts_total", role=name)
            supervised.again_s = self._clock.monotonic() + backoff_s
            await self._clock.sleep(backoff_s)
            backoff_s = min(_LAST_BACKOFF_S, backoff_s * 2)

    async def _run(self, name: str, supervised: _SupervisedRole, stuck: asyncio.Future[str]) -> str:
        """Run one instance to its end. Returns the reason why it ended."""
        try:
            role = supervised.role = self._makers[name]()
        except Exception as error:
            return self._reason(name, error)
        running = asyncio.create_task(role.run(), name=name)
        try:
            either: list[asyncio.Future[Any]] = [running, stuck]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait([running], timeout=_STUCK_STOP_S)
            if running.done() and not running.cancelled():
                running.exception()  # retrieve the exception even if no caller awaits it
        if not running.done():
            self._give_up(name, f"{stuck.result()}; and it does not stop")
            await asyncio.get_running_loop().create_future()  # until the process ends
        if stuck.done():
            return stuck.result()
        failure = running.exception() if not running.cancelled() else None
        return self._reason(name, failure) if failure is not None else "it ended by itself"

    def _reason(self, name: str, error: BaseException) -> str:
        if isinstance(error, LogMoved):
            for place, move in sorted(error.moves.items()):
                self._meter.count("logs_moved_total", role=name, kind=move.kind)
                self.warnings.append(f"{name}: {move.sentence(*place)}")
        if isinstance(error, HookstreamError):
            return str(error)
        if (sentence := self._explain(error)) is not None:
            return sentence
        logger.error("role.failed", role=name, exc_info=error)
        return repr(error)
