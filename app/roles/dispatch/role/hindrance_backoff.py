"""Back off while this machine lacks what connections need, such as file descriptors. No endpoint is charged for it."""

from __future__ import annotations

import structlog

from app.core.errors import Hindered
from app.ports.clock import Clock
from app.ports.metrics import Meter

logger = structlog.get_logger(__name__)

#: A hindered attempt occupies its place for this long before its delivery is deferred, doubled each time in a row.
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 5.0
#: the delivery is deferred for this long
_DEFER_MS = 15_000
_LOG_EVERY_S = 10.0


class HindranceBackoff:
    """The hindrances of one worker in a row."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._clock = clock
        self._meter = meter
        self._pause_s = 0.0
        #: cause → when it was logged last
        self._logged_s: dict[str, float] = {}

    async def slow_down(self, error: Hindered) -> int:
        """Pause in place of the attempt. Returns when the delivery is due again, in ms since the epoch."""
        self._meter.count("hindrances_total", cause=error.cause)
        now_s = self._clock.monotonic()
        if now_s - self._logged_s.get(error.cause, float("-inf")) >= _LOG_EVERY_S:
            self._logged_s[error.cause] = now_s
            logger.error("dispatch.hindered", cause=error.cause, error=str(error), action="deliveries are deferred")
        self._pause_s = min(_MAX_PAUSE_S, self._pause_s * 2 or _FIRST_PAUSE_S)
        await self._clock.sleep(self._pause_s)
        return self._clock.now_ms() + _DEFER_MS

    def over(self) -> None:
        """A connection was opened."""
        self._pause_s = 0.0
