"""A backlog costs a bounded number of moves for each delivery, and a bounded rate in all, however long it waits."""

from __future__ import annotations

from math import log2

import pytest

from app.roles.dispatch import wait_limits
from tests.roles.dispatch.backlog import HOUR_MS, Backlog, answers, every, hangs

DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize("per_second", [0.1, 1])
def test_deliveries_for_an_endpoint_hanging_for_a_day_are_moved_a_few_times(per_second: float) -> None:
    hours = 24 if per_second < 1 else 4
    backlog = Backlog(hangs, every(round(1000 / per_second))).play(hours * HOUR_MS)
    waits = backlog.still()
    assert len(waits) > 0.99 * backlog.arrived
    for each in waits:  # two records for each time that it is put off, about two of these for each doubling
        assert each.moves <= 8 + 4 * log2(1 + (hours * HOUR_MS - each.begun_ms) / 1000), "moves grow with the wait"
    assert sum(backlog.hourly.values()) * 1000 / (hours * HOUR_MS) < 12 * per_second, "records moved per second"
    assert backlog.requests < 300, "probes alone"
    assert backlog.in_memory < 100 and backlog.held < 1000


def test_when_the_endpoint_is_back_everything_is_delivered_within_as_long_as_it_was_away() -> None:
    away_ms = HOUR_MS
    backlog = Backlog(lambda now: hangs(now) if now < away_ms else answers(now), every(500, away_ms)).play(3 * away_ms)
    assert len(backlog.delivered) == backlog.arrived and not backlog.still()
    assert max(backlog.delivered) <= 2 * away_ms + 400_000, "the probe notices it, then the last one comes back"
    minutes = [at // 60_000 for at in backlog.delivered]
    assert max(minutes.count(each) for each in set(minutes)) < len(minutes) / 5, "they come back spread"


def test_a_burst_for_a_hanging_endpoint_returns_at_a_bounded_rate() -> None:
    backlog = Backlog(hangs, iter(range(1, 6001))).play(6 * HOUR_MS)
    assert backlog.arrived == 6000
    assert max(backlog.hourly.values()) / 3600 < 500
    assert sum(backlog.hourly.values()) / backlog.arrived < 40


def test_each_delivery_behind_a_rate_limit_is_moved_a_few_times_in_days() -> None:
    backlog = Backlog(answers, iter(range(1, 8001)), rate=0.1).play(2 * DAY_MS)
    assert len(backlog.delivered) == backlog.arrived and backlog.in_memory < 10
    assert max(backlog.delivered) < 8000 * 10_000 * 1.01, "all slots are used"
    assert backlog.most_moves <= 30
    assert sum(backlog.hourly.values()) * 1000 / (2 * DAY_MS) < 2


def test_a_delivery_without_a_slot_in_time_ends_at_its_limit() -> None:
    backlog = Backlog(answers, iter(range(1, 5001)), rate=0.5, schedule_s=(0.0,), least_ms=HOUR_MS).play(3 * HOUR_MS)
    assert len(backlog.delivered) == pytest.approx(1800, abs=10)
    assert backlog.overloaded == 5000 - len(backlog.delivered)


def test_deliveries_with_a_slot_keep_their_order_although_others_arrive() -> None:
    def arrivals() -> object:
        yield from range(1, 1001)
        yield from range(2000, 1_000_000, 2000)

    backlog = Backlog(answers, arrivals(), rate=1.0).play(HOUR_MS)  # type: ignore[arg-type]
    assert len(backlog.delivered) == backlog.arrived
    assert backlog.most_moves < 20


def test_an_overloaded_endpoint_causes_no_loop_of_deferrals() -> None:
    """It answers, so its circuit stays closed: 1.6 of 3 a second are delivered, the rest waits."""
    backlog = Backlog(lambda _: (20_000, 200), every(333)).play(3 * HOUR_MS)
    assert len(backlog.delivered) > 1.5 * 3 * 3600
    assert sum(backlog.hourly.values()) / backlog.arrived < 40


def test_no_delivery_waits_longer_than_its_limit() -> None:
    backlog = Backlog(hangs, every(10_000), schedule_s=(0.0, 5.0), least_ms=HOUR_MS).play(5 * HOUR_MS)
    assert backlog.overloaded > 1000
    assert max(wait for wait, _ in backlog.waits) <= 2 * (HOUR_MS + 60_000)
    assert all(5 * HOUR_MS - each.begun_ms <= 2 * (HOUR_MS + 60_000) for each in backlog.still())


def test_the_limit_is_the_length_of_the_schedule_at_least_a_day_and_the_last_moment_is_used() -> None:
    assert wait_limits.wait_limit_ms((0, 5), scale=1, least_ms=DAY_MS) == DAY_MS
    assert wait_limits.wait_limit_ms((0, 2 * 86_400), scale=1, least_ms=DAY_MS) == 2 * DAY_MS
    assert wait_limits.wait_limit_ms([7 * 86_400] * 100, scale=1, least_ms=DAY_MS) == wait_limits.MAX_WAIT_MS
    assert wait_limits.next_look_ms(500, since_ms=100, limit_ms=1000, now_ms=200) == 500
    assert wait_limits.next_look_ms(5000, since_ms=100, limit_ms=1000, now_ms=200) == 1100
    assert wait_limits.next_look_ms(5000, since_ms=100, limit_ms=1000, now_ms=1100) is None
