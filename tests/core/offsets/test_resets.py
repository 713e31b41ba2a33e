"""A reset reads records again or skips them, and never leaves the log."""

from __future__ import annotations

import pytest

from app.core.offsets.resets import PartitionOffsets, resets


def standing(committed: int | None) -> PartitionOffsets:
    return PartitionOffsets(topic="events.raw", partition=2, committed=committed, begin=10, end=100)


@pytest.mark.parametrize(
    ("committed", "target", "again", "skipped"),
    [(90, 40, 50, 0), (90, 0, 80, 0), (40, 90, 0, 50), (40, 1000, 0, 60), (None, 40, 0, 30), (5, 40, 0, 30)],
)
def test_records_are_read_again_or_skipped(committed: int | None, target: int, again: int, skipped: int) -> None:
    (change,) = resets([standing(committed)], {("events.raw", 2): target})
    assert (change.again, change.skipped) == (again, skipped)
    assert 10 <= change.target <= 100


@pytest.mark.parametrize(("committed", "target"), [(40, 40), (None, 10), (None, 0), (3, 10), (100, 200)])
def test_an_offset_that_stays_is_left_alone(committed: int | None, target: int) -> None:
    assert resets([standing(committed)], {("events.raw", 2): target}) == []


@pytest.mark.parametrize(("committed", "lag"), [(None, 90), (5, 90), (40, 60), (100, 0)])
def test_lag_counts_what_the_log_still_has(committed: int | None, lag: int) -> None:
    assert standing(committed).lag == lag
