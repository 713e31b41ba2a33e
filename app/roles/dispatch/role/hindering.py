"""What dispatch does while this machine lacks what connections need: it slows down, says so, and charges nobody."""

from __future__ import annotations

import structlog

from app.core.errors import Hindered
from app.ports.clock import Clock
from app.ports.metrics import Meter

log = structlog.get_logger(__name__)

#: A hindered attempt keeps its place for that long before its delivery is put off, twice as long at each one in a row.
_FIRST_NAP_S, _LONGEST_NAP_S = 0.5, 5.0
#: For that long it is put off, and so often a log line says so.
_WAIT_MS = 15_000
_SAY_EVERY_S = 10.0


class Hindering:
    """Hindrances of one worker in a row."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._clock = clock
        self._meter = meter
        self._nap_s = 0.0
        self._said_s: dict[str, float] = {}

    async def slow_down(self, error: Hindered) -> int:
        """Wait a moment in place of the attempt; returns when the delivery is due again (wall clock, ms)."""
        self._meter.count("hindrances_total", cause=error.cause)
        now_s = self._clock.monotonic()
        if now_s - self._said_s.get(error.cause, float("-inf")) >= _SAY_EVERY_S:
            self._said_s[error.cause] = now_s
            log.error("dispatch.hindered", cause=error.cause, error=str(error), action="deliveries are put off")
        self._nap_s = min(_LONGEST_NAP_S, self._nap_s * 2 or _FIRST_NAP_S)
        await self._clock.sleep(self._nap_s)
        return self._clock.now_ms() + _WAIT_MS

    def over(self) -> None:
        """A connection came about."""
        self._nap_s = 0.0
