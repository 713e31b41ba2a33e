"""Deliveries with a `deliver_at` or `expires_at`: nothing is sent before the one, and nothing from the other on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.core import limits, outcomes
from app.core.records import ordered
from app.core.topics.names import TopicName
from app.roles.dispatch.delivery_window import scheduled_ms
from tests.fakes.sender import reply
from tests.roles.dispatch.dispatch_stage import Stage, delayed, rung, url_of

HOUR_MS = 3_600_000
DOWN = reply(503)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.endpoint("a")
    yield made
    await made.stop()


async def test_nothing_is_sent_before_its_time_and_the_delivery_waits_in_the_ladder(stage: Stage) -> None:
    due_ms = stage.clock.now_ms() + HOUR_MS
    await stage.start()
    stage.put("a", "later", deliver_at_ms=due_ms)
    stage.put("a", "now")
    stage.put("a", "past", deliver_at_ms=stage.clock.now_ms())
    (waiting,) = await stage.log.seen(rung("30m"), 1)
    assert {each["event_id"] for each in await stage.attempts(2)} == {"now", "past"}
    held = delayed(waiting)
    assert (held.due_at_ms, held.deliver_at_ms, held.attempts) == (due_ms, due_ms, 0)
    assert held.waiting_since_ms == 0, "it does not wait for its endpoint"
    await stage.clock.advance(HOUR_MS / 1000)
    stage.put_back(waiting)
    (_, _, last) = await stage.attempts(3)
    assert (last["event_id"], last["attempt"], last["trigger"], last["state"]) == ("later", 1, "first", "delivered")
    assert last.get("latency_ms", 0) < HOUR_MS, "it counts from the time that the producer wants"
    assert stage.meter.exposition().decode().count('deliveries_deferred_total{reason="scheduled"} 1.0') == 1


async def test_an_expired_delivery_ends_as_dead_without_an_attempt_or_a_mark_on_its_endpoint(stage: Stage) -> None:
    await stage.start()
    stage.put("a", "e1", expires_at_ms=stage.clock.now_ms())
    stage.put("a", "e2", expires_at_ms=stage.clock.now_ms() + HOUR_MS)
    attempts = {each["event_id"]: each for each in await stage.attempts(2)}
    ended = attempts["e1"]
    assert (ended["state"], ended["result"], ended["reason"], ended["attempt"]) == ("dead", "expired", "expired", 0)
    assert ended["error"] == "the event expired at 2023-11-14T22:13:20.000Z"
    assert attempts["e2"]["state"] == "delivered" and stage.events("a") == ["e2"]
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert dead.header("reason") == "expired"
    signals = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert [each["outcome"] for each in signals if each["delivery_id"] == "dlv_e1"] == ["unsent"]
    shown = stage.meter.exposition().decode()
    assert 'dead_letters_total{reason="expired"} 1.0' in shown
    assert 'healthy_endpoint_deliveries_total{outcome="dead"} 1.0' not in shown
    assert outcomes.outcome_of("expired") is not None


async def test_no_retry_is_planned_for_a_time_after_the_expiry(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    stage.endpoint("a", schedule=(0.0, 60.0))
    stage.sender.script(url_of("a"), DOWN, DOWN)
    await stage.start()
    stage.put("a", "short", expires_at_ms=now_ms + 60_000)
    stage.put("a", "long", expires_at_ms=now_ms + 70_000)
    attempts = {each["event_id"]: each for each in await stage.attempts(2)}
    assert (attempts["short"]["state"], attempts["short"]["reason"]) == ("dead", "expired")
    assert (attempts["short"]["result"], attempts["short"]["attempt"]) == ("http_5xx", 1)
    assert attempts["long"]["state"] == "retrying"
    (waiting,) = await stage.log.seen(rung("1m"), 1)
    await stage.clock.advance(70)
    stage.put_back(waiting)
    (_, _, last) = await stage.attempts(3)
    assert (last["state"], last["result"], last["attempt"]) == ("dead", "expired", 1), "it came too late"
    assert len(stage.sender.to(url_of("a"))) == 2


async def test_a_manual_retry_is_sent_at_once_whatever_the_times_are(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    await stage.start()
    stage.put("a", "e1", revision=now_ms, manual="retry", deliver_at_ms=now_ms + HOUR_MS)
    stage.put("a", "e2", revision=now_ms, manual="retry", expires_at_ms=now_ms - HOUR_MS)
    assert [each["state"] for each in await stage.attempts(2)] == ["delivered", "delivered"]


async def test_a_failed_manual_retry_of_an_expired_delivery_is_not_repeated(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    stage.sender.script(url_of("a"), DOWN)
    await stage.start()
    stage.put("a", "e1", revision=now_ms, manual="retry", expires_at_ms=now_ms - HOUR_MS)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"], attempt["result"]) == ("dead", "expired", "http_5xx")


@pytest.mark.parametrize(("status", "state", "reason"), [("paused", "dead", "paused"), ("disabled", "cancelled", None)])
async def test_an_endpoint_that_takes_nothing_decides_first(
    stage: Stage, status: Any, state: str, reason: str | None
) -> None:
    stage.endpoint("a", status=status)
    await stage.start()
    stage.put("a", "e1", deliver_at_ms=stage.clock.now_ms() + HOUR_MS)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == (state, reason or "endpoint_disabled")


async def test_a_delayed_ordered_delivery_holds_back_its_key_and_an_expired_one_does_not(stage: Stage) -> None:
    stage.endpoint("a", ordering="fifo")
    now_ms = stage.clock.now_ms()
    await stage.start()
    fields: dict[str, Any] = {"ordering_key": "k", "arrival": 1, "released": 1, "sequence": 1}
    stage.put("a", "e1", **fields, deliver_at_ms=now_ms + HOUR_MS, expires_at_ms=now_ms + HOUR_MS + 1)
    (waiting,) = await stage.log.seen(rung("30m"), 1)
    assert not stage.log.of(TopicName.DELIVERIES_ORDERED), "its successor is released when it is settled"
    await stage.clock.advance(HOUR_MS / 1000 + 1)
    stage.put_back(waiting)
    (settled,) = await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    assert ordered.read(settled.headers)[1] == ordered.Settlement(1, "cancelled"), "no dead one that blocks"
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("dead", "expired")
    assert not stage.sender.to(url_of("a"))


async def test_what_a_clock_that_is_ahead_releases_too_early_comes_back_once_more(stage: Stage) -> None:
    due_ms = stage.clock.now_ms() + 3000
    await stage.start()
    stage.put("a", "e1", deliver_at_ms=due_ms)
    (waiting,) = await stage.log.seen(rung("1s"), 1)
    stage.put_back(waiting)
    (again,) = await stage.log.seen(rung("5s"), 1)
    assert delayed(again).due_at_ms == due_ms + 3000, "the other clock is three seconds ahead"
    await stage.clock.advance(3)
    stage.put_back(again)
    (attempt,) = await stage.attempts(1)
    assert attempt["state"] == "delivered"


async def test_a_time_that_no_event_may_have_waits_within_the_ladder_and_never_spins(stage: Stage) -> None:
    await stage.start()
    stage.put("a", "e1", deliver_at_ms=9_999_999_999_999_999)
    (waiting,) = await stage.log.seen(rung("8h"), 1)
    assert delayed(waiting).due_at_ms == stage.clock.now_ms() + limits.DELIVER_AHEAD_S * 1000
    assert scheduled_ms(delayed(waiting), stage.clock.now_ms()) is not None
    assert not delayed(waiting).has_expired(stage.clock.now_ms())
