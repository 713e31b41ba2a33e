"""Rate limits on callers of the API: a generic cell rate algorithm with a burst of one second's worth.

A request counts for its key and for the tenant. Sessions and portal links count for the key that created them, and
clients without a key for their address. Rate limits of endpoints are in `roles/dispatch/lanes.py`, those of replays in
`roles/replay/pacing.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import ceil

from app.api.request import Caller
from app.core.connection_book import source_of

#: callers remembered; beyond it the one that was seen longest ago is forgotten, which gives it a burst
_REMEMBERED = 10_000
#: bytes of bodies per second: of a key, and of a tenant
_KEY_BYTES = 32 * 1024 * 1024
_TENANT_BYTES = 64 * 1024 * 1024


class RateLimiter:
    """A limit on requests per second for each caller. Times are arguments."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str, now_s: float) -> tuple[bool, Mapping[str, str]]:
        """Whether the request is within the rate, and the headers about the rate for the response."""
        free_at = max(self._free_at.get(caller, 0.0), now_s)
        after = free_at + 1.0 / self.per_second
        allowed = after - now_s <= 1.0 + 1e-9
        if allowed:
            free_at = after
            self._remember(caller, free_at)
        left = max(0, int((1.0 - (free_at - now_s)) * self.per_second))
        wait_s = ceil(max(0.0, free_at - now_s))
        headers = {
            "RateLimit-Policy": f'"default";q={self.per_second};w=1',
            "RateLimit": f'"default";r={left};t={wait_s}',
        }
        return allowed, headers if allowed else headers | {"Retry-After": str(max(1, wait_s))}

    def charge(self, caller: str, amount: float, now_s: float) -> None:
        """Charge work already done; later requests wait for the excess (`behind_s`)."""
        self._remember(caller, max(self._free_at.get(caller, 0.0), now_s) + amount / self.per_second)

    def behind_s(self, caller: str, now_s: float) -> float:
        """Seconds until the caller's charges are within its rate again; 0: it may continue now."""
        return max(0.0, self._free_at.get(caller, 0.0) - now_s - 1.0)

    def _remember(self, caller: str, free_at: float) -> None:
        self._free_at[caller] = free_at
        self._free_at.move_to_end(caller)
        while len(self._free_at) > _REMEMBERED:
            self._free_at.popitem(last=False)


class CallLimits:
    """The limits of keys, tenants and clients without a key, in separate memories so that none displaces another."""

    def __init__(self, per_key: int, per_tenant: int) -> None:
        self.keys = RateLimiter(per_key)
        self.tenants = RateLimiter(per_tenant)
        self.strangers = RateLimiter(per_key)
        self._key_bytes = RateLimiter(_KEY_BYTES)
        self._tenant_bytes = RateLimiter(_TENANT_BYTES)

    def take(self, caller: Caller, now_s: float) -> tuple[bool, Mapping[str, str]]:
        """See `RateLimiter.take`. The headers are those of the key, or of the tenant if it has reached its limit."""
        allowed, headers = self.keys.take(caller.payer, now_s)
        if allowed and caller.tenant and not caller.operator:
            allowed, of_tenant = self.tenants.take(caller.tenant, now_s)
            headers = headers if allowed else of_tenant
        behind_s = max(self._key_bytes.behind_s(caller.payer, now_s), self._tenant_bytes.behind_s(caller.tenant, now_s))
        if behind_s:
            return False, {**headers, "Retry-After": str(ceil(behind_s))}
        return allowed, headers

    def take_stranger(self, address: str, now_s: float) -> tuple[bool, Mapping[str, str]]:
        """See `RateLimiter.take`, for a client without a key, by its address."""
        return self.strangers.take(source_of(address), now_s)

    def charge(self, caller: Caller, size: int, now_s: float) -> None:
        """Charge the bytes of a body to the caller's key and tenant."""
        self._key_bytes.charge(caller.payer, size, now_s)
        if caller.tenant:
            self._tenant_bytes.charge(caller.tenant, size, now_s)
