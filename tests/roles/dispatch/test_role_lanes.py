"""Lanes at work: overflow, endpoints that hang, rate limits, jumps of the clock."""

from __future__ import annotations

from app.core.topics.names import TopicName
from app.roles.dispatch.lanes import LaneLimits
from tests.roles.dispatch.dispatch_stage import Stage, delayed, rung, url_of


async def test_a_jump_of_the_wall_clock_delays_no_delivery(stage: Stage) -> None:
    """Forwards, requests in flight look as if they hung for an hour; back, a rate limit lies an hour ahead."""
    stage.endpoint("a", rate_limit=10)
    stage.endpoint("b")
    stage.sender.hold(url_of("b"))
    await stage.start()
    stage.put("a", "a1")
    stage.put("b", "b1")
    await stage.sender.called(2)
    for jump_ms in (3_600_000, -7_200_000):
        stage.clock.jump(jump_ms)
        for serial in range(40):
            stage.put("b", f"b{jump_ms}{serial}")
        stage.put("a", f"a{jump_ms}")
        await stage.clock.advance(0.2)
    stage.sender.release(url_of("b"))
    await stage.attempts(84)
    assert len(stage.events("a")) == 3 and len(stage.events("b")) == 81
    assert stage.log.of(rung("1s")) == stage.log.of(rung("5m")) == []


async def test_overflow_is_deferred_with_a_due_time_and_no_attempt() -> None:
    stage = Stage(LaneLimits(per_endpoint=1, queue=2))
    try:
        stage.endpoint("a")
        stage.endpoint("b")
        stage.sender.hold(url_of("a"))
        for serial in range(5):
            stage.put("a", f"e{serial}", attempts=serial % 2)
        stage.put("b", "other")
        await stage.start()
        await stage.attempts(1)
        assert stage.events("b") == ["other"], "an overflow held up another endpoint"
        deferred = [delayed(record) for record in await stage.log.seen(rung("1s"), 3)]
        assert [(each.event_id, each.attempts) for each in deferred] == [("e2", 0), ("e3", 1), ("e4", 0)]
        assert all(each.due_at_ms >= stage.clock.now_ms() + 1000 for each in deferred)
        assert len(stage.log.of(TopicName.ATTEMPTS)) == 1
        assert await stage.offset() == 0
        stage.sender.release(url_of("a"))
        await stage.attempts(3)
        assert await stage.offset() == 6
    finally:
        await stage.stop()


async def test_deliveries_behind_a_hanging_endpoint_are_returned(stage: Stage) -> None:
    stage.endpoint("a", max_in_flight=2)
    stage.sender.hold(url_of("a"))
    await stage.start()
    for serial in range(20):
        stage.put("a", f"e{serial}")
    await stage.sender.called(2)
    await stage.clock.advance(5)
    shed = [record for name in ("1s", "5s", "30s", "1m") for record in stage.log.of(rung(name))]
    assert len(shed) == 16, "two in flight and two waiting stay"
    assert all(delayed(each).due_at_ms > stage.clock.now_ms() - 5000 and delayed(each).attempts == 0 for each in shed)


async def test_many_hanging_endpoints_do_not_delay_a_healthy_one(stage: Stage) -> None:
    await stage.start()
    for serial in range(300):
        stage.endpoint(f"h{serial}")
        stage.sender.hold(url_of(f"h{serial}"))
        stage.put(f"h{serial}", f"e{serial}")
    stage.endpoint("well")
    stage.put("well")
    await stage.clock.advance(0.1)
    assert stage.events("well") == ["e1"]
    assert len(stage.sender.requests) == 301


async def test_a_slow_rate_limit_does_not_delay_a_faster_one() -> None:
    stage = Stage(LaneLimits(max_wait_ms=10_000_000))
    try:
        stage.endpoint("slow", rate_limit=0.001)
        stage.endpoint("fast", rate_limit=2)
        await stage.start()
        for serial in range(3):
            stage.put("slow", f"s{serial}")
        await stage.attempts(2)  # after a pause two at once, the next one in 1000 s: the alarm is set
        for serial in range(4):
            stage.put("fast", f"f{serial}")
        await stage.sender.called(2, url_of("fast"))
        sent = []
        for seconds in (0.49, 0.02, 0.48, 0.02):
            await stage.clock.advance(seconds)
            sent.append(len(stage.sender.to(url_of("fast"))))
        assert sent == [2, 3, 3, 4]
        assert stage.events("slow") == ["s0", "s1"]
        await stage.clock.advance(1000)
        assert stage.events("slow") == ["s0", "s1", "s2"]
    finally:
        await stage.stop()
