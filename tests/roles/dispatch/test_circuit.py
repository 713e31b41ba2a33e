"""The circuit of an endpoint in its lane: only silence with a backlog opens it, probes go out, one answer closes it."""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model.http_exchange import HttpFailure, HttpReply, HttpTiming
from app.core.topics.names import RUNGS
from app.roles.dispatch.circuit import GAP_MS, LAST_PROBE_MS, MAX_PASSES, was_answered
from app.roles.dispatch.lanes import LaneFull, LaneLimits, Lanes

SERIAL = count()
TIMEOUT_MS = 20_000
HOUR_MS = 3_600_000


def offer(lanes: Lanes[int], now: float, **more: bool | float) -> int | LaneFull:
    """The item that was accepted, or the refusal."""
    item = next(SERIAL)
    return lanes.offer("a", item, now, **more) or item  # type: ignore[arg-type]


def silent(lanes: Lanes[int], now: float, took: float = TIMEOUT_MS) -> float:
    """Send one request and let it time out; returns the time of its end."""
    item = lanes.take(now)
    assert item is not None
    lanes.done("a", item, now + took, answered=False)
    return now + took


def hanging(*, waiting: int = 50) -> tuple[Lanes[int], float]:
    """Lanes of which one has just been opened, and the time."""
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=2))
    for _ in range(waiting):
        offer(lanes, 0)
    now = 0.0
    while not lanes.circuits_open:
        now = silent(lanes, now)
    return lanes, now


def test_a_circuit_opens_after_five_silent_requests_behind_which_others_wait() -> None:
    lanes, now = hanging()
    assert now == 5 * TIMEOUT_MS
    (change,) = lanes.changes
    assert (change.to, change.since_ms, change.endpoint_id) == ("open", 0, "a")
    assert lanes.take(now) is None, "what waited is not sent"
    waited = lanes.waiting
    assert len(lanes.stalled(now)) == waited and lanes.waiting == 0


def test_an_answer_with_any_status_is_not_silence() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=2))
    for step in range(100):
        offer(lanes, step * 1000)
        offer(lanes, step * 1000)
        item = lanes.take(step * 1000)
        assert item is not None
        lanes.done("a", item, step * 1000 + 900, answered=True)
    assert lanes.changes == []


def test_without_a_backlog_silence_opens_nothing_and_the_schedule_is_kept() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    now = 0.0
    for _ in range(200):
        assert not isinstance(offer(lanes, now), LaneFull)
        now = silent(lanes, now) + 60_000
    assert lanes.changes == []


def test_a_few_seconds_of_silence_do_not_open_the_circuit() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=32))
    for _ in range(100):
        offer(lanes, 0)
    flying = [item for _ in range(32) if (item := lanes.take(0)) is not None]
    for item in flying:
        lanes.done("a", item, 5000, answered=False)
    assert lanes.changes == []


def test_many_refused_requests_count_as_a_backlog() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    now = 0.0
    while not lanes.changes and now < HOUR_MS:
        assert not isinstance(offer(lanes, now), LaneFull)
        silent(lanes, now, took=1)
        now += 500
    assert 10_000 < now < 60_000


def test_one_probe_at_a_time_goes_out_at_growing_distances_and_counts_for_the_circuit() -> None:
    lanes, now = hanging()
    lanes.stalled(now)
    probes = [now]
    while now < 24 * HOUR_MS:
        now += 1000
        if isinstance(offer(lanes, now), LaneFull):
            continue
        assert isinstance(offer(lanes, now), LaneFull), "a second one beside the probe"
        probes.append(now)
        now = silent(lanes, now)
    distances = [after - before for before, after in pairwise(probes)]
    assert all(before <= after + 1000 for before, after in pairwise(distances)), "they grow"
    assert LAST_PROBE_MS <= distances[-1] <= LAST_PROBE_MS + TIMEOUT_MS + 1000
    assert len(probes) < 300


def test_deferred_deliveries_return_after_a_rung_no_longer_than_the_silence() -> None:
    lanes, _ = hanging()
    rungs = {round(seconds * 1000) for _, seconds in RUNGS}
    for silence in (120_000, 600_000, HOUR_MS, 5 * HOUR_MS, 100 * HOUR_MS):
        answers = [offer(lanes, silence) for _ in range(100)]
        if silence == 120_000:
            answers.pop(0)  # the next probe
        waits = [answer.until_ms - silence for answer in answers if isinstance(answer, LaneFull)]
        assert min(waits) - 1000 in rungs and min(waits) <= silence + 1000
        assert min(waits) >= min(silence / 6, 8 * HOUR_MS)
        assert {after - before for before, after in pairwise(waits)} == {GAP_MS}, "and a burst comes back spread"


def test_the_delivery_deferred_first_is_the_next_probe() -> None:
    lanes, now = hanging()
    due = [full.until_ms for _, full in lanes.stalled(now)]
    assert due[0] == lanes.changes[-1].probe_at_ms and due[0] not in due[1:]
    assert not isinstance(offer(lanes, due[0]), LaneFull)


def test_the_answer_to_a_probe_closes_the_circuit_and_the_lane_continues() -> None:
    lanes, now = hanging()
    now += 60_000
    assert not isinstance(offer(lanes, now), LaneFull)
    probe = lanes.take(now)
    assert probe is not None
    lanes.done("a", probe, now + 10, answered=True)
    assert lanes.changes[-1].to == "closed" and lanes.circuits_open == 0
    assert lanes.take(now + 10) is not None, "what waited in the lane, and was not put off yet"


def test_a_late_answer_closes_the_circuit_too() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    for _ in range(100):
        offer(lanes, 0)
    flying = [item for _ in range(32) if (item := lanes.take(0)) is not None]
    for item in flying[1:]:
        lanes.done("a", item, TIMEOUT_MS, answered=False)
    changed_to = [lanes.changes[-1].to]
    lanes.done("a", flying[0], TIMEOUT_MS + 1, answered=True)
    changed_to.append(lanes.changes[-1].to)
    assert changed_to == ["open", "closed"] and lanes.take(TIMEOUT_MS + 2) is not None


def test_an_unsent_probe_makes_the_next_delivery_the_probe() -> None:
    lanes, now = hanging()
    now += HOUR_MS
    assert not isinstance(offer(lanes, now), LaneFull)
    probe = lanes.take(now)
    assert probe is not None
    lanes.done("a", probe, now, answered=None)
    assert lanes.circuits_open == 1
    assert not isinstance(offer(lanes, now), LaneFull)
    assert lanes.take(now) is not None


def test_manual_retries_pass_an_open_circuit_up_to_a_bound() -> None:
    lanes, now = hanging()
    lanes.stalled(now)
    passed = [not isinstance(offer(lanes, now, urgent=True), LaneFull) for _ in range(MAX_PASSES + 5)]
    assert passed == [True] * MAX_PASSES + [False] * 5
    item = lanes.take(now)
    assert item is not None
    lanes.done("a", item, now + 10, answered=True)
    assert lanes.circuits_open == 0, "its answer closes the circuit"


def test_a_circuit_that_another_worker_has_opened_is_probed_at_once() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits())
    now = 10 * HOUR_MS
    assert not isinstance(offer(lanes, now, open_since_ms=now - HOUR_MS), LaneFull)
    refused = [offer(lanes, now, open_since_ms=now - HOUR_MS) for _ in range(10)]
    assert all(isinstance(each, LaneFull) and each.until_ms - now > 1_800_000 for each in refused)
    item = lanes.take(now)
    assert item is not None
    lanes.done("a", item, now + 10, answered=True)
    assert not isinstance(offer(lanes, now + 20, open_since_ms=now - HOUR_MS), LaneFull), "the registry is behind"


def test_another_url_closes_the_circuit() -> None:
    lanes, now = hanging()
    lanes.stalled(now)
    assert isinstance(offer(lanes, now), LaneFull)
    assert not isinstance(offer(lanes, now, epoch=7), LaneFull)
    assert lanes.circuits_open == 0


def test_a_rate_limit_applies_to_probes_too() -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(per_endpoint=1))
    now = 0.0
    offer(lanes, now, rate=0.1, open_since_ms=0.0)
    now = silent(lanes, now, took=10)
    while isinstance(offer(lanes, now, rate=0.001), LaneFull):
        now += 1000
    assert now >= 1_000_000 - 2000


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (HttpReply(status=500, headers=(), body=b"", truncated=False, timing=HttpTiming()), True),
        (HttpFailure(kind="blocked_address", detail="", timing=HttpTiming()), True),
        (HttpFailure(kind="timeout", detail="", timing=HttpTiming()), False),
        (HttpFailure(kind="refused", detail="", timing=HttpTiming()), False),
        (HttpFailure(kind="dns", detail="", timing=HttpTiming()), False),
    ],
)
def test_timeouts_and_connection_errors_count_as_silence(outcome: HttpReply | HttpFailure, word: bool) -> None:
    assert was_answered(outcome) is word


@given(st.lists(st.sampled_from(["offer", "ask", "take", "ok", "silent", "silent", "unsent", "sweep"]), max_size=200))
def test_no_delivery_is_lost_or_repeated_by_the_circuit(steps: list[str]) -> None:
    lanes: Lanes[int] = Lanes(LaneLimits(in_flight=5, per_endpoint=2, queue=6))
    inside, flying = set[int](), list[int]()
    now = 0.0
    for step in steps:
        now += 4000
        if step in ("offer", "ask"):
            item = offer(lanes, now, urgent=step == "ask")
            if not isinstance(item, LaneFull):
                inside.add(item)
        elif step == "take":
            taken = lanes.take(now)
            if taken is not None:
                inside.remove(taken)
                flying.append(taken)
        elif step == "sweep":
            inside -= {item for item, _ in lanes.stalled(now)}
        elif flying:
            lanes.done("a", flying.pop(0), now, answered={"ok": True, "silent": False}.get(step))
        assert lanes.waiting == len(inside) and lanes.in_flight == len(flying) <= 5
    while flying or inside:
        inside -= {item for item, _ in lanes.stalled(now)}
        while (taken := lanes.take(now)) is not None:
            inside.remove(taken)
            flying.append(taken)
        assert flying or not inside, "something waits, nothing is in flight, and nothing can be taken"
        if flying:
            lanes.done("a", flying.pop(), now, answered=None)
    now += 2 * LAST_PROBE_MS
    assert not isinstance(offer(lanes, now), LaneFull), "the endpoint is never called again"
    assert lanes.take(now) is not None
