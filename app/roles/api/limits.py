"""How often a caller may ask: a generic cell rate algorithm with a burst of one second's worth."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

#: callers remembered; beyond it all are forgotten at once, which costs nobody more than a burst
_REMEMBERED = 10_000


class RateLimiter:
    """Requests per second for each caller; time is an argument."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._free_at: dict[str, float] = {}

    def take(self, caller: str, now_s: float) -> tuple[bool, Mapping[str, str]]:
        """Whether the caller may ask now, and what the answer's headers say about it."""
        if len(self._free_at) > _REMEMBERED:
            self._free_at.clear()
        free_at = max(self._free_at.get(caller, 0.0), now_s)
        after = free_at + 1.0 / self.per_second
        allowed = after - now_s <= 1.0 + 1e-9
        if allowed:
            free_at = after
            self._free_at[caller] = free_at
        left = max(0, int((1.0 - (free_at - now_s)) * self.per_second))
        wait_s = ceil(max(0.0, free_at - now_s))
        headers = {
            "RateLimit-Policy": f'"default";q={self.per_second};w=1',
            "RateLimit": f'"default";r={left};t={wait_s}',
        }
        return allowed, headers if allowed else headers | {"Retry-After": str(max(1, wait_s))}
