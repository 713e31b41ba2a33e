"""The pace of a replay: its rate, and how many unattempted deliveries each endpoint may have."""

from __future__ import annotations

from app.core.model.endpoint import Endpoint
from app.roles.replay.eligibility import STALLED_S, STUCK_S

#: the largest burst, in seconds' worth of deliveries
_BURST_S = 0.1


class RatePacer:
    """Limits deliveries per second; None: no limit."""

    def __init__(self, rate: float | None, now_s: float) -> None:
        self._rate = rate
        self._burst = max(1.0, (rate or 0.0) * _BURST_S)
        self._saved = 1.0
        self._at_s = now_s

    def free(self, most: int, now_s: float) -> int:
        """How many of `most` deliveries may be appended now."""
        if self._rate is None:
            return most
        self._saved = min(self._burst, self._saved + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return min(most, int(self._saved + 1e-9))

    def took(self, number: int) -> None:
        """Note that so many deliveries were appended."""
        self._saved -= number

    def wait_s(self) -> float:
        """Seconds until the next delivery may be appended, from the time of the last `free` on."""
        return 0.0 if self._rate is None else max(0.0, (1.0 - self._saved) / self._rate)


#: unattempted deliveries of one endpoint in a replay
_WINDOW = 32
#: the same for an ordered endpoint, whose keys the sequencer releases one by one: a key must not stop the others
_WINDOW_IN_LINE = 1000
#: with a rate limit: as many as it allows in so many seconds
_RATE_S = 2


def window_of(endpoint: Endpoint) -> int:
    """How many of an endpoint's replayed deliveries may be unattempted at the same time."""
    limit = _WINDOW if endpoint.ordering == "none" else _WINDOW_IN_LINE
    if endpoint.rate_limit is not None:
        limit = max(1, min(limit, int(endpoint.rate_limit * _RATE_S)))
    return min(limit, endpoint.max_in_flight or limit)


class UnattemptedWindow:
    """One endpoint's deliveries in a replay that were appended and not yet attempted."""

    def __init__(self, now_s: float) -> None:
        self._open: dict[str, None] = {}
        self._moved_s = now_s
        self._attempted_s = now_s

    def free(self, limit: int, now_s: float) -> int:
        """How many may be appended now. After `STALLED_S` without an attempt the oldest is no longer counted."""
        if len(self._open) >= limit and now_s - self._moved_s >= STALLED_S:
            while len(self._open) >= limit:
                del self._open[next(iter(self._open))]
            self._moved_s = now_s
            return 1
        return max(0, limit - len(self._open))

    def sent(self, delivery_id: str, now_s: float) -> None:
        """Note that a delivery is about to be appended."""
        if not self._open:
            self._attempted_s = now_s
        self._open[delivery_id] = None
        self._moved_s = now_s

    def attempted(self, delivery_id: str, now_s: float) -> bool:
        """Note an attempt; returns whether its delivery is one of these."""
        if delivery_id not in self._open:
            return False
        del self._open[delivery_id]
        self._moved_s = self._attempted_s = now_s
        return True

    def stuck(self, now_s: float) -> bool:
        """Whether none of the deliveries was attempted for `STUCK_S`: the endpoint hangs, or its rate is low."""
        return bool(self._open) and now_s - self._attempted_s >= STUCK_S
