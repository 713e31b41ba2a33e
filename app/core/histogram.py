"""Quantiles of durations that were only counted by their upper bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def summed(histograms: Iterable[Sequence[int]], size: int) -> list[int]:
    """All counts together; one that is shorter counts as zeros beyond its end."""
    total = [0] * size
    for counts in histograms:
        for index, count in enumerate(counts[:size]):
            total[index] += count
    return total


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of all lie, as if they were spread evenly within each bound.

    `counts` has one more than `bounds`, for what is larger than the last one: a quantile there is said to be the last
    bound, which it is at least. None: nothing was counted.
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
