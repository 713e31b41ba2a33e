"""Recorded samples in the notation of promtool."""

from __future__ import annotations

import pytest

from tests.monitoring.extract import notation, rounded


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 1.0, 1.0], "1+0x2"),
        ([0.0, 15.0, 30.0, 45.0, 45.0, 45.0], "0+15x3 45 45"),
        ([5.0, 4.0, 3.0], "5-1x2"),
        ([1.0, 7.0], "1 7"),
        ([None, None, 2.0, None, None], "_ _ 2 stale _"),
        ([0.25], "0.25"),
    ],
)
def test_runs_of_equal_steps_are_written_once(values: list[float | None], text: str) -> None:
    assert notation(values) == text


def test_gauges_lose_their_noise_and_counters_nothing() -> None:
    assert rounded("hookstream_consumer_lag_seconds", 1.2345) == 1.2
    assert rounded("hookstream_event_loop_lag_seconds", 0.0012) == 0.0
    assert rounded("hookstream_attempts_in_flight_limit", 1024.0) == 1024.0
    assert rounded("process_start_time_seconds", 1795786122.25) == 1795786122.25
