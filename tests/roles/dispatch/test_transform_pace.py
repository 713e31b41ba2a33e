"""The share of a worker that a tenant's transforms have."""

from __future__ import annotations

from app.roles.dispatch.transform_pace import _TENANTS, BURST_S, FREE_S, SHARE, TransformPace


def test_cheap_evaluations_are_free() -> None:
    pace = TransformPace()
    for _ in range(100_000):
        pace.charge("acme", FREE_S, 0.0)
    assert pace.wait_s("acme", 0.0) == 0


def test_costly_ones_may_take_a_second_at_once_and_a_tenth_of_a_core_after_it() -> None:
    pace, now_s, used_s = TransformPace(), 0.0, 0.0
    while now_s < 1000:
        wait_s = pace.wait_s("acme", now_s)
        now_s += wait_s
        if wait_s == 0:
            now_s += 0.011
            used_s += 0.010
            pace.charge("acme", 0.011, now_s)
    assert 0.8 * 1000 * SHARE <= used_s <= 1000 * SHARE + BURST_S * SHARE + 0.02


def test_deliveries_that_wait_return_one_after_the_other() -> None:
    pace = TransformPace()
    for _ in range(110):
        pace.charge("acme", 0.011, 0.0)
    waits = [pace.wait_s("acme", 0.0) for _ in range(1000)]
    assert waits == sorted(set(waits)) and waits[0] >= 1
    assert abs(waits[-1] - waits[0] - 999 * 0.010 / SHARE) < 0.001


def test_other_tenants_do_not_wait_and_debts_are_forgotten_when_paid() -> None:
    pace = TransformPace()
    for _ in range(1000):
        pace.charge("acme", 0.011, 0.0)
    assert pace.wait_s("acme", 0.0) > 0 and pace.wait_s("other", 0.0) == 0
    assert pace.wait_s("acme", 1000 * 0.010 / SHARE) == 0


def test_a_machine_that_stood_still_is_charged_to_nobody() -> None:
    pace = TransformPace()
    pace.charge("acme", 3600.0, 0.0)
    assert pace.wait_s("acme", 0.0) == 0


def test_a_wait_and_the_number_of_debts_are_bounded() -> None:
    pace = TransformPace()
    for number in range(3 * _TENANTS):
        pace.charge(f"t{number}", 0.1, 0.0)
        assert len(pace._shares) <= _TENANTS
    for _ in range(100_000):
        pace.charge("acme", 0.1, 0.0)
    assert pace.wait_s("acme", 0.0) == 3600
