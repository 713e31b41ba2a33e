"""Log lines about requests that failed by a fault of ours: a few of each kind, and a count of the others.

A client can make requests fail as often as the rate limits allow; the log must not grow with that.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict

import structlog

from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

_WINDOW_S = 60.0
#: lines of one kind in a window
_LINES = 3
_KINDS = 256


class Complaints:
    """Limits repeated log lines of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: kind → (begin of its window, lines in it)
        self._seen: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def unavailable(self, event: str, failure: Exception, **fields: str) -> None:
        """Note that an external system is unavailable."""
        left_out = self._left_out(event, failure)
        if left_out is not None:
            logger.warning(event, error=str(failure), **fields, **left_out)

    def failed(self, event: str, failure: Exception, **fields: str) -> None:
        """Note a defect."""
        left_out = self._left_out(event, failure)
        if left_out is not None:
            logger.error(event, exc_info=failure, **fields, **left_out)

    def _left_out(self, event: str, failure: Exception) -> dict[str, int] | None:
        """Further fields of the log line; None: write no line."""
        frames = traceback.extract_tb(failure.__traceback__, limit=-1)
        place = f"{frames[0].filename}:{frames[0].lineno}" if frames else ""
        kind, now = (event, type(failure).__name__, place), self._clock.monotonic()
        begin, lines = self._seen.pop(kind, (now, 0))
        suppressed = 0
        if now - begin >= _WINDOW_S:
            suppressed, begin, lines = max(0, lines - _LINES), now, 0
        self._seen[kind] = (begin, lines + 1)
        while len(self._seen) > _KINDS:
            self._seen.popitem(last=False)
        if lines >= _LINES:
            return None
        return {"left_out": suppressed} if suppressed else {}
