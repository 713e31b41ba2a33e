"""Which outcomes dispatch tells: transitions, and every failure that a rule has to count."""

from __future__ import annotations

import pytest

from app.core.errors import Defect
from app.core.records.signal import read
from app.roles.dispatch.signals import SignalFilter


def test_of_many_successes_the_first_and_the_first_after_a_failure_are_signalled() -> None:
    signal_filter = SignalFilter()
    assert [signal_filter.success(0, "a") for _ in range(3)] == [True, False, False]
    assert signal_filter.success(0, "b")
    assert signal_filter.failure(0, "a", 1.0, always=False)
    assert [signal_filter.success(0, "a") for _ in range(3)] == [True, False, False]
    assert not signal_filter.success(0, "b")


def test_at_most_ten_failures_a_minute_are_signalled_unless_each_one_counts() -> None:
    signal_filter = SignalFilter()
    assert sum(signal_filter.failure(0, "a", second, always=False) for second in range(60)) == 10
    assert signal_filter.failure(0, "a", 60, always=False)
    assert all(signal_filter.failure(0, "a", 60, always=True) for _ in range(100))


def test_sent_signals_are_forgotten_at_a_new_assignment() -> None:
    signal_filter = SignalFilter()
    signal_filter.success(0, "a")
    signal_filter.success(1, "b")
    signal_filter.forget({0})
    assert signal_filter.success(0, "a") and not signal_filter.success(1, "b")


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[" * 5000, b'{"outcome":"?","epoch":1,"delivery_id":"d"}'])
def test_a_record_that_is_not_a_signal_is_refused(value: bytes | None) -> None:
    with pytest.raises(Defect):
        read(value)
