"""Which offsets dispatch commits, and when: acknowledgements, revocations, stops."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import HookstreamError, RecordTooLarge
from app.core.offsets.partitions import CommittedOffset
from app.core.offsets.runs import Runs
from app.core.offsets.watermark import encode_finished
from app.core.topics.names import TopicName
from tests.roles.dispatch.dispatch_stage import ONE, ZERO, Stage, rung, url_of


@pytest.mark.parametrize("first", [TopicName.ATTEMPTS, rung("5s")])
async def test_an_offset_is_committed_when_attempt_and_retry_are_both_acknowledged(stage: Stage, first: str) -> None:
    both = [TopicName.ATTEMPTS, rung("5s")]
    stage.endpoint("a")
    stage.sender.script(url_of("a"), 500)
    stage.log.hold(*both)
    await stage.start()
    stage.put("a")
    for topic in both:
        await stage.log.seen(topic, 1)
    assert await stage.offset() == 0
    stage.log.release(first)
    assert await stage.offset() == 0
    stage.log.release(next(topic for topic in both if topic != first))
    assert await stage.offset() == 1


async def test_finished_offsets_above_an_open_one_are_in_the_commits_metadata(stage: Stage) -> None:
    for name in "ab":
        stage.endpoint(name)
    stage.sender.hold(url_of("a"))
    await stage.start()
    for name, event in (("b", "e0"), ("a", "e1"), ("b", "e2"), ("b", "e3")):
        stage.put(name, event)
    await stage.attempts(3)
    assert await stage.offset() == 1
    assert stage.group.committed[ZERO] == CommittedOffset(1, encode_finished(1, Runs([2, 3])))
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(3.1)
    await leaving
    await stage.source.assign(ZERO)
    stage.put("b", "e4")
    await stage.sender.called(6)
    assert stage.events("a") == ["e1", "e1"], "what was open is sent again"
    assert stage.events("b") == ["e0", "e2", "e3", "e4"], "what was finished is not"
    stage.sender.release(url_of("a"))
    assert await stage.offset() == 5


async def test_the_offsets_of_a_refused_commit_are_in_the_next_one(stage: Stage) -> None:
    stage.endpoint("a")
    stage.group.refusing = True
    await stage.start()
    stage.put("a")
    await stage.attempts(1)
    assert await stage.offset() == 0
    stage.group.refusing = False
    stage.put("a", "e2", partition=1)
    await stage.attempts(2)
    assert (await stage.offset(ONE), stage.group.offset(ZERO)) == (1, 1)


async def test_an_unwritable_record_ends_the_run_without_a_commit(stage: Stage) -> None:
    stage.endpoint("a")
    stage.log.fail(TopicName.ATTEMPTS, RecordTooLarge("an attempt"))
    await stage.start()
    stage.put("a")
    assert stage.running is not None
    with pytest.raises(HookstreamError, match="an attempt"):
        await stage.running
    assert not stage.source.running
    assert not stage.group.offset(ZERO)


async def test_no_record_is_taken_in_while_the_log_has_no_room(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", "e1")
    await stage.attempts(1)
    stage.log.crowd(True)
    await stage.clock.advance(1)
    stage.put("a", "e2")
    await stage.clock.advance(1)
    polled = stage.source.polled
    stage.put("a", "e3")
    await stage.clock.advance(5)
    assert stage.source.polled == polled
    stage.log.crowd(False)
    await stage.attempts(3)


async def test_records_polled_before_a_rebalance_do_not_count_for_the_partitions_next_assignment(stage: Stage) -> None:
    for name in "ab":
        stage.endpoint(name)
    for serial in range(3):
        stage.put("b", f"b{serial}", partition=1)
    stage.put("removed", "b3", partition=1)
    stage.group.committed[ONE] = CommittedOffset(2, "")
    stage.feed.blocked = True
    stage.put("a", "a0", position=5)  # the worker has not read the registry so far
    await stage.start()
    await stage.feed.waited_for()
    assert stage.source.polled == 3, "both partitions were polled together"
    await stage.source.revoke(ONE)
    stage.group.committed[ONE] = CommittedOffset(0, "")  # somebody reset the group
    stage.sender.hold(url_of("b"))
    await stage.source.assign(ONE)
    stage.feed.open()
    await stage.sender.called(3, url_of("b"))
    assert stage.events("b") == ["b0", "b1", "b2"], "a record of the old assignment was sent"
    assert await stage.offset(ONE) == 0, "the commit passed what is not finished"
    assert stage.group.committed[ONE].metadata == encode_finished(0, Runs([3]))
    stage.sender.release(url_of("b"))
    assert await stage.offset(ONE) == 4
    assert sorted(each["event_id"] for each in await stage.attempts(5)) == ["a0", "b0", "b1", "b2", "b3"]
    assert await stage.offset(ZERO) == 1


async def test_a_partition_revoked_while_it_waits_for_the_registry_is_released(stage: Stage) -> None:
    stage.feed.blocked = True
    stage.put("removed", "e1", position=5)
    stage.put("removed", "e2")
    await stage.start()
    await stage.feed.waited_for()
    await stage.source.revoke(ZERO)
    stage.feed.open()
    await stage.clock.advance(1)
    assert stage.log.of(TopicName.ATTEMPTS) == [], "written for a partition of somebody else"
    assert not stage.group.offset(ZERO)
    await stage.source.assign(ZERO)
    assert [each["event_id"] for each in await stage.attempts(2)] == ["e1", "e2"]
    assert await stage.offset() == 2


async def test_a_delivery_is_not_sent_before_the_registry_was_read_as_far_as_its_fan_out(stage: Stage) -> None:
    stage.feed.blocked = True
    stage.put("a", position=9)
    await stage.start()
    await stage.feed.waited_for()
    await stage.clock.advance(2)
    stage.endpoint("a")
    stage.feed.open()
    (attempt,) = await stage.attempts(1)
    assert attempt["state"] == "delivered"


async def test_a_revocation_waits_for_what_is_in_flight_and_sends_nothing_more(stage: Stage) -> None:
    stage.endpoint("a", max_in_flight=1)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", "e1")
    stage.put("a", "e2")
    await stage.sender.called(1)
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(1)
    assert not leaving.done()
    stage.sender.release(url_of("a"))
    await stage.clock.advance(0.1)
    await leaving
    assert stage.group.offset(ZERO) == 1
    assert stage.events("a") == ["e1"]


async def test_a_revocation_does_not_wait_for_ever(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(3.1)
    assert leaving.done()
    assert not stage.group.offset(ZERO)


async def test_a_stop_finishes_what_is_in_flight_and_commits_it(stage: Stage) -> None:
    stage.endpoint("a", max_in_flight=1)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", "e1")
    stage.put("a", "e2")
    await stage.sender.called(1)
    assert stage.running is not None
    stage.running.cancel()
    await stage.clock.advance(1)
    assert not stage.running.done()
    stage.sender.release(url_of("a"))
    await stage.clock.advance(0.1)
    assert stage.running.done() and not stage.source.running
    assert stage.group.offset(ZERO) == 1
    assert stage.events("a") == ["e1"]
