"""The signals that dispatch sends to health."""

from __future__ import annotations

import msgspec

from app.core.topics.names import TopicName
from tests.fakes.clock import settle
from tests.fakes.sender import reply
from tests.roles.dispatch.dispatch_stage import ONE, ZERO, Stage, url_of


def signals(stage: Stage) -> list[tuple[str, str | None]]:
    """(outcome, why dead) of what was told."""
    said = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    return [(each["outcome"], each.get("dead")) for each in said]


async def test_failures_and_the_first_success_after_one_are_signalled(stage: Stage) -> None:
    stage.endpoint("a", epoch=7)
    stage.sender.script(url_of("a"), reply(500), reply(503), reply(200))
    await stage.start()
    for number in range(6):
        stage.put("a", f"e{number}", partition=1)
        await stage.attempts(number + 1)
    assert signals(stage) == [("failed", None), ("failed", None), ("ok", None)]
    told = stage.log.of(TopicName.ENDPOINTS_SIGNALS)
    assert all(each.key == b"a" and each.partition == 1 for each in told)
    assert msgspec.json.decode(told[0].value or b"")["epoch"] == 7
    await settle()
    await stage.source.revoke(ONE)
    await stage.source.assign(ONE)
    stage.put("a", "later", partition=1)
    await stage.attempts(7)
    assert signals(stage)[3:] == [("ok", None)], "somebody else may have told a failure meanwhile"


async def test_every_failure_is_signalled_if_the_rule_counts_failures(stage: Stage) -> None:
    stage.endpoint("days")
    stage.endpoint("counts", disable_after_failures=100)
    for name in ("days", "counts"):
        stage.sender.script(url_of(name), reply(500))
    await stage.start()
    for number in range(30):
        stage.put("days", f"d{number}")
        stage.put("counts", f"c{number}")
    await stage.attempts(60)
    keys = [each.key for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert (keys.count(b"days"), keys.count(b"counts")) == (10, 30)


async def test_dead_deliveries_are_signalled_and_parked_ones_are_not(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0,))
    stage.endpoint("gone")
    stage.endpoint("paused", status="paused")
    stage.sender.script(url_of("a"), reply(500))
    stage.sender.script(url_of("gone"), reply(410))
    await stage.start()
    for name in ("a", "gone", "paused"):
        stage.put(name)
    record = stage.log.partitions[ZERO][0]
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=b"\xff{", headers=record.headers, partition=0)
    await stage.attempts(4)
    assert sorted(signals(stage), key=str) == [("failed", "exhausted"), ("failed", "gone"), ("unsent", "unreadable")]


async def test_an_offset_is_finished_when_the_signal_is_acknowledged(stage: Stage) -> None:
    stage.endpoint("a")
    stage.log.hold(TopicName.ENDPOINTS_SIGNALS)
    await stage.start()
    stage.put("a")
    await stage.attempts(1)
    assert await stage.offset() == 0
    stage.log.release(TopicName.ENDPOINTS_SIGNALS)
    assert await stage.offset() == 1
