"""Lanes: fairness, bounds and the promise that one endpoint costs the others nothing."""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.roles.dispatch.lanes import LaneFull, LaneLimits, Lanes

SERIAL = count()


def fill(lanes: Lanes[int], endpoint: str, number: int, now: float = 0) -> int:
    """How many of `number` offers were accepted."""
    return sum(lanes.offer(endpoint, next(SERIAL), now) is None for _ in range(number))


def take_all(lanes: Lanes[int], now: float = 0) -> list[int]:
    taken = []
    while (item := lanes.take(now)) is not None:
        taken.append(item)
    return taken


def test_an_endpoint_has_at_most_its_cap_in_flight() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=4))
    fill(lanes, "a", 20)
    assert len(take_all(lanes)) == 4
    assert lanes.waiting == 16


def test_lanes_take_turns() -> None:
    lanes: Lanes[str] = Lanes(LaneLimits())
    for name in "aab":
        lanes.offer(name, f"{name}{next(SERIAL)}", 0)
    order = [lanes.take(0), lanes.take(0), lanes.take(0)]
    assert [item[0] for item in order if item] == ["a", "b", "a"]


def test_an_ended_request_frees_its_slot() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=1))
    fill(lanes, "a", 2)
    first = lanes.take(0)
    assert first is not None and lanes.take(0) is None
    lanes.done("a", first, 5, answered=True)
    assert lanes.take(5) is not None


def test_the_length_of_a_lane_follows_its_pace() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=2, queue=1000, max_wait_ms=2000))
    assert fill(lanes, "fast", 2000) == 201  # 20 ms each, two at a time: what fits into 2 s, and one
    slow: Lanes[int] = Lanes(LaneLimits(per_endpoint=2, queue=1000, max_wait_ms=2000))
    for now in range(0, 50_000, 1000):
        fill(slow, "slow", 1)
        for item in take_all(slow, now):
            slow.done("slow", item, now + 1000, answered=True)
    assert fill(slow, "slow", 100, 50_000) < 10


def test_overflow_is_spread_over_the_time_the_endpoint_needs() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=1, max_wait_ms=2000))
    refused = [answer for _ in range(1000) if (answer := lanes.offer("a", next(SERIAL), 0)) is not None]
    assert refused[0].until_ms >= 2000
    assert all(1000 <= answer.until_ms <= 5000 for answer in refused), "as far as the guess is good for"
    crowds = [sum(begin <= answer.until_ms < begin + 500 for answer in refused) for begin in range(2000, 5000, 500)]
    assert max(crowds) < 2 * min(crowds), "and evenly"


def test_a_rate_limited_endpoints_overflow_is_spread_exactly() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=2000))
    offers = [lanes.offer("a", next(SERIAL), 0, rate=50) for _ in range(1000)]
    refused = [answer for answer in offers if isinstance(answer, LaneFull)]
    assert {after.until_ms - before.until_ms for before, after in pairwise(refused)} == {20}


def test_a_rate_limited_endpoints_overflow_has_exact_slots_for_days_ahead() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    offers = [lanes.offer("a", next(SERIAL), 0, rate=1) for _ in range(500_000)]
    refused = [answer for answer in offers if isinstance(answer, LaneFull)]
    assert {after.until_ms - before.until_ms for before, after in pairwise(refused)} == {1000}
    assert {answer.why for answer in refused} == {"rate_limit"}
    assert refused[-1].until_ms > 5 * 86_400_000


def test_arrivals_queue_behind_deliveries_with_a_slot() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=2000))
    slots = [answer for _ in range(10) if (answer := lanes.offer("a", next(SERIAL), 0, rate=1))]
    taken = take_all(lanes, 0) + take_all(lanes, 1000) + take_all(lanes, 2000) + take_all(lanes, 3000)
    now = slots[0].until_ms
    fresh = lanes.offer("a", next(SERIAL), now, rate=1)
    assert len(taken) == 3 and fresh is not None and fresh.until_ms == slots[-1].until_ms + 1000
    assert lanes.offer("a", next(SERIAL), now, rate=1, again=True) is None


@pytest.mark.parametrize(("rate", "waits_ms"), [(None, 0), (10, 100), (0.5, 2000)])
def test_a_changed_rate_limit_applies_at_once(rate: float | None, waits_ms: int) -> None:
    """With one request in 1000 s, the next one was allowed in 1000 s whatever the limit had become meanwhile."""
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=10_000_000))
    for _ in range(3):
        lanes.offer("a", next(SERIAL), 0, rate=0.001)
    assert len(take_all(lanes, 0)) == 1 and lanes.wake_at_ms() == 1_000_000
    assert lanes.offer("a", next(SERIAL), 0, rate=rate) is None
    if waits_ms:
        assert len(take_all(lanes, waits_ms - 1)) == 0
    assert take_all(lanes, waits_ms), "it waits for a time that followed from the old limit"
    assert lanes.offer("a", next(SERIAL), waits_ms, rate=rate) is None
    fast = [lanes.offer("b", next(SERIAL), 0, rate=0.001) for _ in range(20_000)]
    assert isinstance(fast[-1], LaneFull) and fast[-1].until_ms > 10_000_000
    again = lanes.offer("b", next(SERIAL), 0, rate=1000)
    assert again is None, "slots of the old limit count for nothing"


def test_one_hanging_request_does_not_make_an_answering_endpoint_slow() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=32))
    fill(lanes, "a", 400)
    flying = take_all(lanes)
    now = 0.0
    while now < 3000:  # the first one hangs, the others are answered within a millisecond
        now += 1
        lanes.done("a", flying.pop(), now, answered=True)
        fill(lanes, "a", 1, now)
        flying += take_all(lanes, now)
    assert fill(lanes, "a", 400, now) == 400
    assert not lanes.stalled(now)


def test_overflow_is_deferred_by_longer_the_longer_the_slowdown_lasts() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=1))
    fill(lanes, "a", 3)
    take_all(lanes)

    def farthest(now: float) -> float:
        answers = [lanes.offer("a", next(SERIAL), now) for _ in range(5000)]
        return max(answer.until_ms for answer in answers if isinstance(answer, LaneFull)) - now

    assert farthest(2_000) <= 5_000
    assert 30_000 < farthest(20_000) <= 40_000
    assert 1_000_000 < farthest(1_000_000) <= 2_000_000


def test_a_stalled_lane_returns_its_newest_deliveries() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=4, max_wait_ms=2000))
    accepted = fill(lanes, "a", 300)
    take_all(lanes)
    assert lanes.stalled(100) == []
    shed = lanes.stalled(10_000)  # four requests hang since 10 s
    assert len(shed) == accepted - 4 - 4
    assert all(full.until_ms > 10_000 for _, full in shed)


def test_hanging_endpoints_leave_places_to_others() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(in_flight=64, per_endpoint=32))
    for number in range(20):
        fill(lanes, f"hang{number}", 32)
        take_all(lanes)
    fill(lanes, "good", 5)
    assert lanes.in_flight < 64
    assert lanes.take(0) is not None


def test_requests_without_an_answer_shrink_the_limit_and_answers_grow_it() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=8, in_flight=1024))
    for _ in range(3):
        fill(lanes, "a", 1)
        item = lanes.take(0)
        assert item is not None
        lanes.done("a", item, 10, answered=False)
    fill(lanes, "a", 8)
    (only,) = take_all(lanes)
    lanes.done("a", only, 10, answered=True)
    assert len(take_all(lanes, 10)) == 2


def test_a_rate_limit_spaces_requests() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    for _ in range(3):
        lanes.offer("a", next(SERIAL), 0, rate=10)
    assert len(take_all(lanes, 0)) == 1
    assert lanes.wake_at_ms() == 100
    assert len(take_all(lanes, 99)) == 0
    assert len(take_all(lanes, 100)) == 1


def test_the_delivery_with_the_next_slot_of_a_low_rate_limit_stays_in_its_lane() -> None:
    """It was, once a second, so that an endpoint with a limit of less than 0.25/s got hardly anything after a burst."""
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=2000))
    lanes.offer("a", next(SERIAL), 0, rate=0.1)
    assert len(take_all(lanes)) == 1
    assert lanes.offer("a", next(SERIAL), 8500, rate=0.1) is None
    assert lanes.stalled(9000) == []
    assert len(take_all(lanes, 10_000)) == 1


def test_a_cleared_lane_returns_its_waiting_deliveries_and_accepts_others() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=1))
    fill(lanes, "a", 5)
    flying = lanes.take(0)
    assert len(lanes.clear()) == 4 and lanes.waiting == 0
    assert flying is not None
    lanes.done("a", flying, 1, answered=True)
    fill(lanes, "a", 1)
    assert lanes.take(1) is not None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["offer", "take", "ok", "fail", "stall"])), max_size=200)
)
def test_nothing_is_lost_or_sent_twice(steps: list[tuple[str, str]]) -> None:
    lanes: Lanes[tuple[str, int]] = Lanes(LaneLimits(in_flight=5, per_endpoint=2, queue=6))
    serial, inside, flying = count(), set[tuple[str, int]](), list[tuple[str, int]]()
    for now, (endpoint, step) in enumerate(steps):
        if step == "offer":
            item = (endpoint, next(serial))
            if lanes.offer(endpoint, item, now) is None:
                inside.add(item)
        elif step == "take":
            taken = lanes.take(now)
            if taken is not None:
                inside.remove(taken)
                flying.append(taken)
        elif step == "stall":
            for item, _ in lanes.stalled(now + 60_000):
                inside.remove(item)
        elif flying:
            item = flying.pop(0)
            lanes.done(item[0], item, now, answered=step == "ok")
        assert lanes.waiting == len(inside) and lanes.in_flight == len(flying) <= 5
    while flying or inside:
        while (taken := lanes.take(10_000_000)) is not None:
            inside.remove(taken)
            flying.append(taken)
        assert flying, "something waits, nothing is in flight, and nothing can be taken"
        item = flying.pop()
        lanes.done(item[0], item, 10_000_000, answered=True)


def test_a_healthy_lane_above_the_threshold_continues_with_its_own_answers() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(in_flight=256, per_endpoint=32))
    lanes.widen()
    for number in range(200):
        fill(lanes, f"hangs{number}", 5)
    take_all(lanes)
    fill(lanes, "healthy", 20)
    flying = take_all(lanes)
    delivered = 0
    while flying:
        lanes.done("healthy", flying.pop(), 10, answered=True)
        delivered += 1
        flying += [item for item in take_all(lanes) if item is not None]
    assert delivered == 20


def test_a_rate_limited_lane_holds_only_what_it_can_send_soon() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=2000))
    assert lanes.offer("slow", next(SERIAL), 0, rate=0.001) is None
    assert len(take_all(lanes)) == 1
    refused = lanes.offer("slow", next(SERIAL), 0, rate=0.001)
    assert isinstance(refused, LaneFull)
    assert refused.until_ms == 2_000_000, "put off to its slot, not for hours in memory"
    assert lanes.wake_at_ms() is None


def test_the_breadth_grows_only_when_asked_and_is_given_back() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(in_flight=1000, per_endpoint=32))
    for number in range(20):
        fill(lanes, f"ep{number}", 32)
    flying = take_all(lanes)
    assert len(flying) == lanes.breadth == 128
    assert lanes.too_narrow()
    lanes.widen()
    assert len(flying + take_all(lanes)) == lanes.breadth == 256
    lanes.narrow()
    assert lanes.breadth == 256, "it is used"
    idle: Lanes[int] = Lanes(LaneLimits(in_flight=1000))
    idle.widen()
    idle.widen()
    idle.narrow()
    idle.narrow()
    idle.narrow()
    assert idle.breadth == 128


def test_a_fresh_rate_limited_lane_accepts_no_more_than_it_sends_soon() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(max_wait_ms=2000))
    now = 1_700_000_000_000
    assert sum(lanes.offer("slow", next(SERIAL), now, rate=0.01) is None for _ in range(100)) == 1
    assert sum(lanes.offer("brisk", next(SERIAL), now, rate=10) is None for _ in range(100)) == 21
