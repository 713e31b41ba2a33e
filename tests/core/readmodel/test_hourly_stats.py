"""Quantiles from counts by upper bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.readmodel.hourly_stats import quantile, summed

BOUNDS = (5, 10, 25, 50, 100)


def test_an_empty_histogram_has_no_quantile_and_the_last_bucket_has_its_lower_bound() -> None:
    assert quantile([0] * 6, BOUNDS, 0.5) is None
    assert quantile([0, 0, 0, 0, 0, 3], BOUNDS, 0.5) == 100
    assert quantile([10, 0, 0, 0, 0, 0], BOUNDS, 0.5) == 2.5
    assert quantile([5, 5, 0, 0, 0, 0], BOUNDS, 0.99) == 9.9


@given(st.lists(st.integers(0, 120), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_the_bounds_of_the_true_one(durations: list[int], share: float) -> None:
    counts = [0] * 6
    for each in durations:
        counts[next((index for index, bound in enumerate(BOUNDS) if each <= bound), 5)] += 1
    found = quantile(counts, BOUNDS, share)
    true = sorted(durations)[max(0, -(-int(share * len(durations) * 1e6) // 1_000_000) - 1)]
    index = next((index for index, bound in enumerate(BOUNDS) if true <= bound), 5)
    assert found is not None
    lower, upper = (BOUNDS[index - 1] if index else 0), BOUNDS[min(index, 4)]
    assert lower - 1e-6 <= found <= upper + 1e-6


def test_sums_take_shorter_ones_as_zeros() -> None:
    assert summed([[1, 2], [], [1, 1, 1, 9]], 3) == [2, 3, 1]
