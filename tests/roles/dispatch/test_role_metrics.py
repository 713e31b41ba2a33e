"""What the dispatch role measures of its attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from app.core.model.http_exchange import HttpTiming
from app.core.topics.names import TopicName
from tests.fakes.sender import reply
from tests.roles.dispatch.dispatch_stage import Stage, rung, url_of

TIMING = HttpTiming(connect_ms=2, first_byte_ms=5, total_ms=8)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


def lines(stage: Stage, part: str) -> set[str]:
    """The samples whose names have the part."""
    text = stage.meter.exposition().decode().splitlines()
    return {line.removeprefix("hookstream_") for line in text if part in line and not line.startswith("#")}


async def test_an_attempt_is_measured_by_phases_and_its_delay(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), msgspec.structs.replace(reply(500), timing=TIMING), 200)
    await stage.start()
    stage.put("a", accepted_at_ms=stage.clock.now_ms() - 4000)
    (record,) = await stage.log.seen(rung("5s"), 1)
    stage.put_back(record)
    await stage.attempts(2)

    durations = lines(stage, "attempt_duration_seconds_sum")
    assert 'attempt_duration_seconds_sum{phase="connect"} 0.002' in durations
    assert 'attempt_duration_seconds_sum{phase="first_byte"} 0.005' in durations
    assert lines(stage, "first_attempt_delay_seconds_sum") == {"first_attempt_delay_seconds_sum 4.0"}
    assert lines(stage, "first_attempt_delay_seconds_count") == {"first_attempt_delay_seconds_count 1.0"}
    assert lines(stage, "attempts_per_success_sum") == {"delivery_attempts_per_success_sum 2.0"}


async def test_attempts_are_counted_by_their_reason(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), 500, 200, 200)
    await stage.start()
    stage.put("a", "e1")
    (record,) = await stage.log.seen(rung("5s"), 1)
    stage.put_back(record)
    await stage.attempts(2)
    stage.put("a", "e2", replay_id="rpl_1")
    await stage.attempts(3)
    assert lines(stage, "attempts_total") == {
        'attempts_total{attempt="first",result="http_5xx"} 1.0',
        'attempts_total{attempt="retry",result="ok"} 1.0',
        'attempts_total{attempt="replay",result="ok"} 1.0',
    }
    firsts = lines(stage, "delivery_latency_seconds_count")
    assert not any('attempt="first"' in line for line in firsts), "a replay's age says nothing about latency"


async def test_the_busiest_endpoints_have_metrics_of_their_own_if_chosen() -> None:
    stage = Stage(top_endpoints=1)
    stage.endpoint("a")
    stage.endpoint("b")
    stage.sender.script(url_of("a"), msgspec.structs.replace(reply(500), timing=TIMING))
    await stage.start()
    stage.put("a", "e1")
    await stage.attempts(1)
    stage.put("b", "e2")
    await stage.attempts(2)
    assert lines(stage, "endpoint_attempts_total") == {
        'endpoint_attempts_total{endpoint="a",mode="live",tenant="acme"} 1.0',
        'endpoint_attempts_total{endpoint="other",mode="",tenant=""} 1.0',
    }
    assert 'endpoint_failures_total{endpoint="a",mode="live",tenant="acme"} 1.0' in lines(stage, "endpoint_failures")
    assert 'endpoint_attempt_seconds_total{endpoint="a",mode="live",tenant="acme"} 0.008' in lines(stage, "_seconds")
    await stage.stop()


async def test_deaths_count_against_the_objective_while_the_endpoint_is_healthy(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0,))
    stage.endpoint("b", schedule=(0,), failing_since_ms=1)
    stage.endpoint("c")
    stage.endpoint("d", status="paused")
    for name in ("a", "b"):
        stage.sender.script(url_of(name), 500)
    await stage.start()
    for number, name in enumerate(("a", "b", "c", "d")):
        stage.put(name, f"e{number}")
    await stage.log.seen(TopicName.DELIVERIES_DEAD, 3)
    await stage.attempts(4)
    assert lines(stage, "healthy_endpoint_deliveries_total") == {
        'healthy_endpoint_deliveries_total{outcome="dead"} 1.0',
        'healthy_endpoint_deliveries_total{outcome="delivered"} 1.0',
    }
