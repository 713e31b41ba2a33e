"""The dispatch role and partitions that it has lost: what happened is told, whoever has them now decides the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.core.records import ordered
from app.core.records.ordered import Settlement
from app.core.topics.names import RUNGS, TopicName
from tests.fakes.clock import settle
from tests.roles.dispatch.dispatch_stage import ONE, ZERO, Stage, rung, url_of


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.endpoint("a")
    yield made
    await made.stop()


def scheduled(stage: Stage) -> int:
    """Everything that makes somebody act: retries, deferrals, dead letters, signals."""
    topics = [*(rung(name) for name, _ in RUNGS), TopicName.DELIVERIES_DEAD, TopicName.ENDPOINTS_SIGNALS]
    return sum(len(stage.log.of(topic)) for topic in topics)


async def outlive(stage: Stage, answer: int, **fields: Any) -> dict[str, Any]:
    """A request that ends after its partition went to somebody else; its record."""
    stage.sender.script(url_of("a"), answer)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", **fields)
    await stage.sender.called(1)
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(3.1)
    assert leaving.done()
    stage.sender.release(url_of("a"))
    (record,) = await stage.attempts(1)
    await stage.clock.advance(1)
    return record


async def test_a_failure_after_the_partition_was_lost_schedules_no_retry(stage: Stage) -> None:
    record = await outlive(stage, 500)
    assert (record["attempt"], record["state"], record["reason"]) == (1, "retrying", "reassigned")
    assert "next_attempt_at" not in record
    assert scheduled(stage) == 0
    assert not stage.group.offset(ZERO), "the next owner would not send it again"


async def test_the_last_failure_after_the_partition_was_lost_writes_no_dead_letter(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0,))
    record = await outlive(stage, 500, arrival=3, ordering_key="k", sequence=1)
    assert (record["state"], record["reason"]) == ("retrying", "reassigned")
    assert scheduled(stage) == 0
    assert not stage.log.of(TopicName.DELIVERIES_ORDERED), "its line would go on beside the next owner's request"


async def test_a_success_after_the_partition_was_lost_counts_and_its_key_queue_continues(stage: Stage) -> None:
    record = await outlive(stage, 200, arrival=3, ordering_key="k", sequence=1)
    assert record["state"] == "delivered"
    (told,) = stage.log.of(TopicName.DELIVERIES_ORDERED)
    assert ordered.read(told.headers) == ("k", Settlement(3, "delivered"))


async def test_a_partition_reassigned_during_the_request_is_another_assignment(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(3.1)
    await leaving
    await stage.source.assign(ZERO)
    await stage.sender.called(2)
    stage.sender.release(url_of("a"))
    states = [(each["state"], each.get("reason")) for each in await stage.attempts(2)]
    assert sorted(states, key=str) == [("retrying", "reassigned"), ("retrying", None)]
    assert len(await stage.log.seen(rung("5s"), 1)) == 1, "each request scheduled a retry of its own"


async def frozen(stage: Stage) -> None:
    """One request under way and one delivery in its lane, in a worker that stood still for too long."""
    stage.endpoint("a", max_in_flight=1)
    stage.sender.script(url_of("a"), 500)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", "e1")
    stage.put("a", "e2")
    await stage.sender.called(1)
    stage.source.lease = stage.clock.monotonic()
    stage.sender.release(url_of("a"))
    await stage.clock.advance(5)


async def test_a_suspended_worker_does_nothing_before_its_group_has_answered(stage: Stage) -> None:
    await frozen(stage)
    stage.put("a", "e3")
    await stage.clock.advance(5)
    assert stage.events("a") == ["e1"] and not stage.log.of(TopicName.ATTEMPTS) and scheduled(stage) == 0
    stage.source.lease = float("inf")
    await stage.clock.advance(1)
    assert stage.events("a") == ["e1", "e2", "e3"]
    records = await stage.attempts(3)
    assert [each["state"] for each in records] == ["retrying"] * 3 and "reason" not in records[0]
    assert len(stage.log.of(rung("5s"))) == 3


async def test_a_worker_replaced_while_suspended_records_the_outcome_and_schedules_nothing(stage: Stage) -> None:
    await frozen(stage)
    await stage.source.revoke(ZERO)  # at once: there is nothing to be waited for
    stage.source.lease = float("inf")
    await stage.clock.advance(1)
    (record,) = await stage.attempts(1)
    assert (record["event_id"], record["state"], record["reason"]) == ("e1", "retrying", "reassigned")
    assert stage.events("a") == ["e1"] and scheduled(stage) == 0
    assert not stage.group.offset(ZERO)


async def test_unconfirmed_work_at_a_stop_is_left_to_the_next_owner(stage: Stage) -> None:
    await frozen(stage)
    assert stage.running is not None
    stage.running.cancel()
    await stage.clock.advance(10)
    await settle()
    assert stage.running.done()
    assert scheduled(stage) == 0 and not stage.group.offset(ZERO)
    assert stage.log.of(TopicName.ATTEMPTS) == [] and stage.events("a") == ["e1"]


async def test_polled_but_unprocessed_records_of_a_lost_partition_are_not_committed(stage: Stage) -> None:
    stage.endpoint("b")
    stage.sender.hold(url_of("b"))
    await stage.start()
    stage.put("b", "e1", partition=1)
    await stage.sender.called(1)
    stage.feed.blocked = True
    stage.put("b", "e2", partition=1, position=99)
    stage.put("a", "e3")
    for number in (1, 0):  # both are polled at once, and the second one waits behind the first one's catch-up
        stage.source._positions[TopicName.DELIVERIES, number] = stage.source._positions.pop(
            (TopicName.DELIVERIES, number)
        )
    await stage.feed.waited_for()
    leaving = asyncio.create_task(stage.source.revoke(ZERO, ONE))
    await settle()
    stage.feed.open()  # in the midst of the revocation
    await stage.clock.advance(0.5)
    stage.sender.release(url_of("b"))
    await stage.clock.advance(0.5)
    await leaving
    assert stage.events("a") == [] and not stage.group.offset(ZERO)
    assert stage.group.offset(ONE) == 1
