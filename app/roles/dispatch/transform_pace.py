"""How much of a worker's processor time a tenant's transforms may take.

An evaluation is bounded, but a tenant may have thousands of them, each as costly as the bounds allow. What an
evaluation takes beyond a millisecond, which other work for a delivery takes as well, counts against its tenant's share.
A tenant that is far beyond it waits; its deliveries return one after the other, as its share allows.
"""

from __future__ import annotations

#: seconds of an evaluation that count for nothing
FREE_S = 0.001
#: of one core
SHARE = 0.1
#: seconds of debt, of the share, before deliveries wait
BURST_S = 10.0
#: seconds that one evaluation counts at most: more is a machine that stood still
_MOST_S = 0.1
_LONGEST_WAIT_S = 3600.0
_TENANTS = 10_000


class _TenantShare:
    __slots__ = ("mean_s", "next_s", "paid_s")

    def __init__(self, now_s: float) -> None:
        #: when the share has paid for all evaluations so far
        self.paid_s = now_s
        #: when the next delivery that waits may return
        self.next_s = now_s
        #: of the latest costly evaluations
        self.mean_s = 0.0


class TransformPace:
    """The debts of all tenants of a worker. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._shares: dict[str, _TenantShare] = {}

    def charge(self, tenant: str, seconds: float, now_s: float) -> None:
        """Count an evaluation that took so many seconds."""
        excess_s = min(seconds, _MOST_S) - FREE_S
        if excess_s <= 0:
            return
        share = self._shares.get(tenant)
        if share is None:
            if len(self._shares) >= _TENANTS:
                self._shares = {name: each for name, each in self._shares.items() if each.paid_s > now_s}
            if len(self._shares) >= _TENANTS:
                self._shares.clear()
            share = self._shares[tenant] = _TenantShare(now_s)
        share.paid_s = max(share.paid_s, now_s) + excess_s / SHARE
        share.mean_s += (excess_s - share.mean_s) / 8 if share.mean_s else excess_s

    def wait_s(self, tenant: str, now_s: float) -> float:
        """How long a delivery of the tenant waits before its transform is evaluated; 0: not at all."""
        share = self._shares.get(tenant)
        if share is None or share.paid_s - now_s <= BURST_S:
            return 0.0
        share.next_s = max(share.next_s, share.paid_s - BURST_S) + share.mean_s / SHARE
        return min(share.next_s - now_s, _LONGEST_WAIT_S)
