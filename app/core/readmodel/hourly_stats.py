"""Counts per hour, and quantiles of durations that are counted by upper bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


def summed(histograms: Iterable[Sequence[int]], size: int) -> list[int]:
    """The sum of several histograms with `size` buckets. A shorter one counts as zero beyond its end."""
    total = [0] * size
    for counts in histograms:
        for index, count in enumerate(counts[:size]):
            total[index] += count
    return total


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value below which the share (0 to 1) of all values lies, assuming even distribution within each bucket.

    `counts` has one bucket more than `bounds`, for values above the last bound; a quantile in it is returned as the
    last bound. None if nothing was counted.
    """
    total = sum(counts)
    if total == 0:
        return None
    rank, below = share * total, 0
    for index, count in enumerate(counts[: len(bounds)]):
        if count and below + count >= rank:
            lower = bounds[index - 1] if index else 0.0
            return lower + (bounds[index] - lower) * max(0.0, rank - below) / count
        below += count
    return float(bounds[-1])


#: upper bounds of the duration counts, milliseconds
LATENCY_BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
HOUR_MS = 3_600_000


class StatsKey(NamedTuple):
    """The key of a row of counts."""

    tenant: str
    mode: str
    #: empty: all endpoints of the tenant whose partition is `part`
    endpoint_id: str
    begins_ms: int
    #: partition of attempts, so that two processes never count in one row; 0 with an endpoint, which has one partition
    part: int


class HourCounts:
    """The counts of one hour."""

    __slots__ = ("attempts", "cancelled", "dead", "delivered", "durations", "failed_attempts")

    def __init__(self) -> None:
        self.attempts = 0
        self.failed_attempts = 0
        self.delivered = 0
        self.dead = 0
        self.cancelled = 0
        self.durations = [0] * (len(LATENCY_BOUNDS_MS) + 1)


class HourlyStats:
    """Counts that are not stored yet, for several keys."""

    def __init__(self) -> None:
        self._counts: dict[StatsKey, HourCounts] = {}

    def __iter__(self) -> Iterator[tuple[StatsKey, HourCounts]]:
        return iter(sorted(self._counts.items()))

    def _both(self, tenant: str, mode: str, endpoint_id: str, at_ms: int, part: int) -> tuple[HourCounts, HourCounts]:
        begins_ms = at_ms - at_ms % HOUR_MS
        one = self._counts.setdefault(StatsKey(tenant, mode, endpoint_id, begins_ms, 0), HourCounts())
        return one, self._counts.setdefault(StatsKey(tenant, mode, "", begins_ms, part), HourCounts())

    def attempt(
        self, tenant: str, mode: str, endpoint_id: str, at_ms: int, part: int, *, ok: bool, duration_ms: float
    ) -> None:
        """Count a request."""
        for counts in self._both(tenant, mode, endpoint_id, at_ms, part):
            counts.attempts += 1
            counts.failed_attempts += not ok
            counts.durations[bisect_left(LATENCY_BOUNDS_MS, duration_ms)] += 1

    def end(self, tenant: str, mode: str, endpoint_id: str, at_ms: int, part: int, state: str) -> None:
        """Count a delivery that ended: delivered, dead or cancelled."""
        for counts in self._both(tenant, mode, endpoint_id, at_ms, part):
            counts.delivered += state == "delivered"
            counts.dead += state == "dead"
            counts.cancelled += state == "cancelled"
