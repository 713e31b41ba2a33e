"""The dispatch role and endpoints that are silent: circuits, what waits behind them, and the end of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.core.model.delivery import Delivery
from app.core.model.endpoint import OpenCircuit
from app.core.model.http_exchange import HttpOutcome, HttpRequest
from app.core.topics.names import TopicName
from tests.fakes.clock import FakeClock
from tests.fakes.sender import ScriptedSender, refusal
from tests.roles.dispatch.dispatch_stage import ONE, ZERO, Stage, delayed, rung, url_of

DAY_MS = 86_400_000
RUNGS = ("1s", "5s", "30s", "1m", "5m", "30m", "2h", "8h")


class SilentSender(ScriptedSender):
    """Some receivers are silent for 20 s; the others do as their script says."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.silent: set[str] = set()

    async def send(self, request: HttpRequest) -> HttpOutcome:
        if request.url not in self.silent:
            return await super().send(request)
        self.requests.append(request)
        await self._clock.sleep(20)
        return refusal("timeout")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(sender=SilentSender)
    made.sender.silent.add(url_of("a"))  # type: ignore[attr-defined]
    made.endpoint("a", max_in_flight=1)
    yield made
    await made.stop()


def deferred(stage: Stage) -> list[Delivery]:
    """What waits in the ladder without an attempt, in the order of its due times."""
    found = [delayed(record) for name in RUNGS for record in stage.log.of(rung(name))]
    return sorted((each for each in found if each.waiting_since_ms), key=lambda each: each.due_at_ms)


async def opened(stage: Stage) -> None:
    """Five requests have timed out, and others wait."""
    await stage.start()
    for number in range(12):
        stage.put("a", f"e{number}")
    for number in range(4):
        await stage.clock.advance(20)
        stage.put("a", f"more{number}")
        stage.put("a", f"more{number}b")
    await stage.clock.advance(21)
    assert exposed(stage, 'circuit_transitions_total{to="open"}') == 1


def exposed(stage: Stage, metric: str) -> float:
    lines = stage.meter.exposition().decode().splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"hookstream_{metric} ")), 0))


async def test_a_silent_endpoint_is_probed_by_one_delivery_and_the_others_are_deferred_once(stage: Stage) -> None:
    await opened(stage)
    sent = len(stage.sender.requests)
    before = len(deferred(stage))
    for number in range(20):
        stage.put("a", f"late{number}")
    await stage.clock.advance(1)
    assert len(stage.sender.requests) == sent, "the circuit is open"
    assert len(deferred(stage)) >= before + 20
    await stage.clock.advance(60)
    stage.put("a", "probe")
    stage.put("a", "other")
    await stage.clock.advance(1)
    assert stage.events("a")[sent:] == ["probe"]
    assert exposed(stage, "circuits_open") == 1


async def test_each_change_of_a_circuit_is_signalled(stage: Stage) -> None:
    await opened(stage)

    def told() -> list[dict[str, Any]]:
        signals = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
        return [each for each in signals if each["outcome"] == "circuit"]

    (first,) = told()
    begun_ms, now_ms = 1_700_000_000_000, stage.clock.now_ms()
    assert first["circuit"]["since_ms"] - begun_ms < 1000 and first["circuit"]["probe_at_ms"] > now_ms
    await stage.clock.advance(60)
    stage.put("a", "probe")
    await stage.clock.advance(21)
    _, second = told()
    assert second["circuit"]["since_ms"] == first["circuit"]["since_ms"]
    assert second["circuit"]["probe_at_ms"] - stage.clock.now_ms() > 60_000, "half of the silence"
    stage.sender.silent.clear()  # type: ignore[attr-defined]
    await stage.clock.advance(120)
    stage.put("a", "probe2")
    await stage.clock.advance(1)
    assert told()[2:] == [{"outcome": "circuit", "epoch": 1}]


async def test_an_attempt_that_becomes_due_meanwhile_is_not_counted(stage: Stage) -> None:
    await opened(stage)
    stage.put("a", "retry", attempts=3, due_at_ms=stage.clock.now_ms())
    await stage.clock.advance(1)
    (waiting,) = [each for each in deferred(stage) if each.event_id == "retry"]
    assert waiting.attempts == 3 and waiting.due_at_ms > stage.clock.now_ms()


async def test_a_manual_retry_passes_an_open_circuit_and_its_answer_closes_it(stage: Stage) -> None:
    await opened(stage)
    stage.sender.silent.clear()  # type: ignore[attr-defined]
    sent = len(stage.sender.requests)
    stage.put("a", "asked", revision=7, manual="retry")
    await stage.clock.advance(2)
    assert stage.events("a")[sent] == "asked"
    assert exposed(stage, "circuits_open") == 0
    stage.put("a", "next")
    await stage.clock.advance(1)
    assert stage.events("a")[-1] == "next"


async def test_the_attempts_of_probes_follow_the_schedule(stage: Stage) -> None:
    stage.endpoint("a", max_in_flight=1, schedule=(0,))
    await opened(stage)
    await stage.clock.advance(120)
    stage.put("a", "probe")
    await stage.clock.advance(21)
    probe = next(each for each in stage.log.of(TopicName.DELIVERIES_DEAD) if each.header("event-id") == "probe")
    assert (probe.header("reason"), probe.header("last-result"), probe.header("attempts")) == (
        "exhausted",
        "timeout",
        "1",
    )


async def test_a_delivery_that_waited_too_long_is_dead_with_a_reason_and_an_attempt_record(stage: Stage) -> None:
    await opened(stage)
    await stage.clock.advance(60)
    stage.put("a", "probe")
    now_ms = stage.clock.now_ms()
    fields: dict[str, Any] = {"arrival": 3, "ordering_key": "k", "attempts": 2}
    stage.put("a", "old", waiting_since_ms=now_ms - 4 * DAY_MS, **fields)
    stage.put("a", "young", waiting_since_ms=now_ms - DAY_MS, accepted_at_ms=now_ms - 9 * DAY_MS)
    await stage.clock.advance(1)
    (dead,) = stage.log.of(TopicName.DELIVERIES_DEAD)
    assert (dead.header("event-id"), dead.header("reason"), dead.header("attempts")) == ("old", "overloaded", "2")
    assert dead.header("waiting-since") is None, "what is retried begins anew"
    records = await stage.attempts(1)
    (attempt,) = [each for each in records if each["event_id"] == "old"] if len(records) else []
    assert (attempt["state"], attempt["reason"], attempt["attempt"]) == ("dead", "overloaded", 2)
    assert "it waited since" in attempt["error"]
    assert len(stage.log.of(TopicName.DELIVERIES_ORDERED)) == 1, "its line goes on"
    (young,) = [each for each in deferred(stage) if each.event_id == "young"]
    assert young.due_at_ms <= now_ms - DAY_MS + 80 * 3_600_000


async def test_an_attempt_ends_the_waiting(stage: Stage) -> None:
    stage.endpoint("b")
    stage.sender.script(url_of("b"), 500)
    await stage.start()
    stage.put("b", "e1", waiting_since_ms=stage.clock.now_ms() - 100 * DAY_MS)
    (record,) = await stage.log.seen(rung("5s"), 1)
    assert delayed(record).waiting_since_ms == 0


async def test_a_circuit_that_the_registry_calls_open_is_probed_by_the_first_delivery(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    mark = OpenCircuit(since_ms=now_ms - 3_600_000, probe_at_ms=now_ms + 200_000)
    stage.endpoint("a", circuit=mark)
    await stage.start()
    for number in range(5):
        stage.put("a", f"e{number}")
    await stage.clock.advance(1)
    assert stage.events("a") == ["e0"]
    assert all(each.due_at_ms - now_ms > 1_700_000 for each in deferred(stage))
    assert len(deferred(stage)) == 4


async def test_a_worker_forgets_circuits_at_a_new_assignment(stage: Stage) -> None:
    await opened(stage)
    await stage.clock.advance(5)
    await stage.source.revoke(ZERO, ONE)
    stage.sender.silent.clear()  # type: ignore[attr-defined]
    sent = len(stage.sender.requests)
    await stage.source.assign(ZERO, ONE)
    stage.put("a", "fresh")
    await stage.clock.advance(1)
    assert "fresh" in stage.events("a")[sent:], "the registry knows of no open circuit"


async def test_deliveries_of_a_lost_partition_are_not_deferred(stage: Stage) -> None:
    """Its next owner has it: a copy in the ladder would be a second one."""
    await stage.start()
    for number in range(20):
        stage.put("a", f"e{number}")
    await stage.clock.advance(0.5)
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(10)
    await leaving
    assert deferred(stage) == []
