"""How long a consumer's fetches wait at the broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.adapters.kafka.internals import FetchTuning
from tests.fakes.clock import FakeClock

PATIENT = (500, 1)
IDLE = (2500, 1)


class Tuned:
    """A tuning on a clock of the test, and the consumer that it tunes."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.tuning = FetchTuning(500, clock=self.clock, **options)
        self.consumer = SimpleNamespace(_fetcher=SimpleNamespace(_fetch_max_wait_ms=500, _fetch_min_bytes=1))

    def polled(self, records: int, *, paused: bool = False) -> tuple[int, int]:
        """The wait and the least bytes after a poll."""
        self.tuning.polled(self.consumer, records, paused=paused)
        return self.consumer._fetcher._fetch_max_wait_ms, self.consumer._fetcher._fetch_min_bytes


async def test_a_consumer_without_records_waits_longer_until_there_are_some() -> None:
    tuned = Tuned()
    assert tuned.polled(0) == PATIENT
    await tuned.clock.advance(5)
    assert tuned.polled(0) == IDLE
    assert tuned.polled(1) == PATIENT
    await tuned.clock.advance(4)
    assert tuned.polled(0) == PATIENT


async def test_paused_partitions_may_be_resumed_at_any_moment() -> None:
    tuned = Tuned()
    for _ in range(10):
        await tuned.clock.advance(1)
        assert tuned.polled(0, paused=True) == PATIENT


async def test_after_an_assignment_positions_change() -> None:
    tuned = Tuned()
    await tuned.clock.advance(5)
    assert tuned.polled(0) == IDLE
    tuned.tuning.restart(tuned.consumer)
    assert tuned.polled(0) == PATIENT


@pytest.mark.parametrize(("gathers", "expected"), [(True, (3, 256 * 1024)), (False, PATIENT)])
async def test_only_a_consumer_that_prefers_large_batches_lets_them_gather(
    gathers: bool, expected: tuple[int, int]
) -> None:
    tuned = Tuned(gathers=gathers)
    assert tuned.polled(4) == expected
    assert tuned.polled(3) == PATIENT
