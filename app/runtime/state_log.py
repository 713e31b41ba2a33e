"""Log a process's state changes at level info: when it is ready, no longer ready, and ready again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from app.ports.clock import Clock

logger = structlog.get_logger(__name__)


class ReadinessLog:
    """Checks the readiness of a process and logs each change once."""

    def __init__(self, clock: Clock, readiness: Callable[[], Mapping[str, str | None]]) -> None:
        self._clock = clock
        self._readiness = readiness
        self._begun_s = clock.monotonic()
        self._was_ready: bool | None = None
        self._since_s = self._begun_s

    def look(self) -> None:
        """Log the changes since the last call."""
        reasons = {name: reason for name, reason in self._readiness().items() if reason is not None}
        now_s = self._clock.monotonic()
        if self._was_ready is None and not reasons:
            logger.info("process.ready", after_s=round(now_s - self._begun_s, 1))
        elif self._was_ready is False and not reasons:
            logger.info("process.ready_again", after_s=round(now_s - self._since_s, 1))
        elif self._was_ready and reasons:
            logger.warning("process.not_ready", reasons=reasons)
            self._since_s = now_s
        else:
            return
        self._was_ready = not reasons


class KeyRingLog:
    """Compares the key ring of the process with the secrets of the registry, and says when they do not fit."""

    def __init__(self, problem: Callable[[], str | None]) -> None:
        self._problem = problem
        #: why secrets cannot be opened, as of the last look
        self.trouble: str | None = None

    def look(self) -> None:
        """Compare, and log each change once."""
        trouble = self._problem()
        if trouble is not None and self.trouble is None:
            logger.error("keyring.differs", reason=trouble)
        elif trouble is None and self.trouble is not None:
            logger.info("keyring.fits")
        self.trouble = trouble
