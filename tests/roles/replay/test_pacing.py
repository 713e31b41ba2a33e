"""The window of unattempted deliveries, and the rate of a replay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model.endpoint import Endpoint, EndpointStatus
from app.roles.replay.eligibility import STALLED_S
from app.roles.replay.pacing import RatePacer, UnattemptedWindow, window_of


def endpoint(name: str = "ep", status: EndpointStatus = "active", **fields: Any) -> Endpoint:
    return Endpoint(
        id=name, tenant="t", mode="live", url="https://e.x", events=("*",), profile="standard", status=status, **fields
    )


def test_the_window_is_what_an_endpoint_takes_in_two_seconds_and_at_once() -> None:
    assert window_of(endpoint()) == 32
    assert window_of(endpoint(rate_limit=5.0)) == 10
    assert window_of(endpoint(rate_limit=0.1)) == 1
    assert window_of(endpoint(rate_limit=1000.0)) == 32
    assert window_of(endpoint(max_in_flight=4)) == 4
    assert window_of(endpoint(rate_limit=1.0, max_in_flight=4)) == 2


def test_each_attempt_of_its_own_deliveries_opens_the_window() -> None:
    window = UnattemptedWindow(0.0)
    window.sent("a", 0.0)
    window.sent("b", 0.0)
    assert window.free(2, 1.0) == 0
    assert not window.attempted("somebody else's", 1.0)
    assert window.attempted("a", 1.0) and not window.attempted("a", 1.0)
    assert (window.free(2, 1.0), window.free(1, 1.0)) == (1, 0)


def test_after_a_while_without_attempts_one_more_delivery_may_be_appended() -> None:
    window = UnattemptedWindow(0.0)
    for number in range(3):
        window.sent(str(number), 0.0)
    now_s = 0.0
    for number in range(3, 200):
        assert window.free(3, now_s + STALLED_S - 0.1) == 0
        now_s += STALLED_S
        assert window.free(3, now_s) == 1
        window.sent(str(number), now_s)
    assert [window.attempted(str(number), now_s) for number in range(195, 200)] == [False, False, True, True, True]


def test_an_endpoint_without_attempts_for_seconds_is_stuck() -> None:
    window = UnattemptedWindow(0.0)
    assert not window.stuck(100.0), "nothing is under way"
    window.sent("a", 100.0)
    assert not window.stuck(104.9) and window.stuck(105.0)
    window.sent("b", 105.0)
    assert window.stuck(105.0), "another append is no sign of life"
    window.attempted("a", 106.0)
    assert not window.stuck(110.0) and window.stuck(111.0)


@given(st.sampled_from([0.5, 1.0, 7.0, 100.0, 3000.0]), st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60))
def test_no_second_sees_more_than_the_rate_and_a_tenth(rate: float, waits: list[float]) -> None:
    pacer, now_s = RatePacer(rate, 0.0), 0.0
    taken: list[tuple[float, int]] = []
    for wait_s in waits:
        now_s += wait_s
        number = pacer.free(10_000, now_s)
        pacer.took(number)
        taken.append((now_s, number))
        assert sum(n for at, n in taken if at > now_s - 1.0) <= rate + max(1.0, rate / 10) + 1e-6


@pytest.mark.parametrize("rate", [0.5, 2.0, 40.0])
def test_waiting_as_long_as_wait_s_returns_gives_the_whole_rate(rate: float) -> None:
    pacer, now_s, taken = RatePacer(rate, 0.0), 0.0, 0
    while now_s < 20:
        number = pacer.free(100, now_s)
        pacer.took(number)
        taken += number
        now_s += pacer.wait_s() + 0.0001
    assert 0.95 * rate * 20 <= taken <= rate * 20 + 2


def test_without_a_rate_there_is_no_limit() -> None:
    pacer = RatePacer(None, 0.0)
    assert pacer.free(500, 0.0) == 500
    pacer.took(500)
    assert pacer.free(500, 0.0) == 500 and pacer.wait_s() == 0.0
