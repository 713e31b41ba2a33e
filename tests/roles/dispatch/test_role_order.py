"""The dispatch role and deliveries of one ordering key: one at a time, in sequence, whatever copies turn up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.core.records import ordered
from app.core.records.ordered import Settlement
from app.core.topics.names import TopicName
from tests.fakes.clock import settle
from tests.roles.dispatch.dispatch_stage import ZERO, Stage, rung, url_of


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.endpoint("a", ordering="fifo")
    yield made
    await made.stop()


def put(stage: Stage, event: str, arrival: int, released: int | None = None, key: str = "k", **fields: Any) -> None:
    """A delivery that the sequencer has let out; without a mark: an older version has."""
    stage.put("a", event, arrival=arrival, released=released, ordering_key=key, sequence=arrival, **fields)


def settled(stage: Stage) -> list[tuple[int, str]]:
    """(arrival, outcome) of what the sequencer was told."""
    told = [ordered.read(each.headers)[1] for each in stage.log.of(TopicName.DELIVERIES_ORDERED)]
    return [(each.arrival, each.outcome) for each in told if isinstance(each, Settlement)]


def states(stage: Stage, records: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(each["event_id"], each["attempt"], each["state"], each.get("reason")) for each in records]


async def test_a_settled_but_uncommitted_delivery_is_not_sent_beside_its_successor(stage: Stage) -> None:
    put(stage, "e1", 1, 1)
    stage.put("a", "x")
    put(stage, "e2", 2, 5)
    await stage.start()
    await stage.attempts(2)
    assert sorted(stage.events("a")) == ["e2", "x"], "a receiver would apply the old one after the new one"
    assert await stage.offset() == 3
    assert (1, "delivered") not in settled(stage)


async def test_nothing_ordered_is_sent_before_the_records_at_the_assignment_are_read(stage: Stage) -> None:
    for serial in range(1200):  # more than one poll
        put(stage, f"e{serial}", serial, serial, key="k" if serial in (0, 1199) else f"other{serial}")
    await stage.start()
    await stage.attempts(1199)
    assert "e0" not in stage.events("a") and "e1199" in stage.events("a")


async def test_deliveries_of_other_keys_do_not_wait_for_a_key_queue(stage: Stage) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "e1", 1, 1)
    put(stage, "other", 2, 2, key="other")
    stage.put("a", "unordered")
    await stage.sender.called(3)


async def test_waiting_for_the_end_of_a_partition_is_bounded(stage: Stage) -> None:
    put(stage, "e1", 1, 1)
    stage.source.lost_position = True
    await stage.start()
    await stage.clock.advance(19)
    assert stage.events("a") == []
    await stage.clock.advance(2)
    assert stage.events("a") == ["e1"]


async def test_a_copy_waits_for_the_request_in_flight_and_ends_with_its_success(stage: Stage) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "e1", 1, 1)
    put(stage, "e1", 1, 1)
    await stage.sender.called(1)
    await settle()
    assert stage.events("a") == ["e1"], "two requests of one key at once"
    stage.sender.release(url_of("a"))
    assert await stage.offset() == 2
    assert stage.events("a") == ["e1"] and settled(stage) == [(1, "delivered")]


async def test_a_copy_continues_after_a_failure_and_only_one_copy_is_retried(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500)
    await stage.start()
    put(stage, "e1", 1, 1)
    put(stage, "e1", 1, 1)
    assert await stage.offset() == 2
    (waiting,) = await stage.log.seen(rung("5s"), 1)
    assert stage.events("a") == ["e1"], "from then on each attempt would be made twice"
    stage.put_back(waiting)
    await stage.sender.called(2)


async def test_a_successor_waits_for_the_request_in_flight_whose_failure_has_no_retry(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 200)
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.sender.called(1)
    put(stage, "e2", 2, 5)
    await settle()
    assert stage.events("a") == ["e1"], "two requests of one key at once"
    stage.sender.release(url_of("a"))
    assert states(stage, await stage.attempts(2)) == [
        ("e1", 1, "cancelled", "superseded"),
        ("e2", 1, "delivered", None),
    ]
    assert await stage.offset() == 2
    assert not stage.log.of(rung("5s")) and settled(stage) == [(1, "cancelled"), (2, "delivered")]


async def test_a_success_counts_although_its_successor_was_released(stage: Stage) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.sender.called(1)
    put(stage, "e2", 2, 5)
    await settle()
    stage.sender.release(url_of("a"))
    assert states(stage, await stage.attempts(2)) == [("e1", 1, "delivered", None), ("e2", 1, "delivered", None)]


async def test_a_delivery_waiting_in_its_lane_ends_when_its_successor_arrives(stage: Stage) -> None:
    stage.endpoint("a", ordering="fifo", max_in_flight=1)
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "x", 9, 9, key="other")
    await stage.sender.called(1)
    put(stage, "e1", 1, 1)
    await settle()
    put(stage, "e2", 2, 5)
    await settle()
    stage.sender.release(url_of("a"))
    assert await stage.offset() == 3
    assert stage.events("a") == ["x", "e2"]
    (told,) = [each for each in await stage.attempts(3) if each["event_id"] == "e1"]
    assert (told["state"], told["reason"], told["attempt"]) == ("cancelled", "superseded", 0)


async def test_a_second_run_from_the_ladder_has_no_effect_once_its_key_queue_moved_on(stage: Stage) -> None:
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.attempts(1)
    put(stage, "e2", 2, 5)
    await stage.attempts(2)
    put(stage, "e1", 1, 1, attempts=1)  # a crash had its retry written twice
    put(stage, "e2", 2, 5, attempts=1)
    assert await stage.offset() == 4
    assert stage.events("a") == ["e1", "e2"]
    await stage.source.revoke(ZERO)
    await stage.source.assign(ZERO)
    put(stage, "e1", 1, 1, attempts=2)
    assert await stage.offset() == 5
    assert stage.events("a") == ["e1", "e2"], "what a mark proves holds in the next assignment, too"


async def test_copies_without_a_release_mark_are_admitted_one_by_one(stage: Stage) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    for number in (3, 1, 2):
        put(stage, f"e{number}", number)
    await stage.sender.called(1)
    await settle()
    assert stage.events("a") == ["e3"]
    stage.sender.release(url_of("a"))
    await stage.attempts(3)
    assert stage.events("a") == ["e3", "e1", "e2"], "nobody knows what they prove: none may be lost"


async def test_very_many_copies_in_one_key_queue_are_processed(stage: Stage) -> None:
    stage.feed.directory.remove_endpoint("a")
    for number in range(5000):
        put(stage, f"e{number}", number)
    await stage.start()
    assert len(await stage.attempts(5000)) == 5000
    assert await stage.offset() == 5000


async def test_deliveries_in_a_key_queue_leave_with_their_partition(stage: Stage) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.sender.called(1)
    put(stage, "e2", 2, 5)
    await settle()
    leaving = asyncio.create_task(stage.source.revoke(ZERO))
    await stage.clock.advance(3.1)
    await leaving
    await stage.source.assign(ZERO)
    await settle()
    assert stage.events("a") == ["e1"], "the request of the last assignment is still under way"
    stage.sender.release(url_of("a"))
    assert await stage.offset() == 2
    assert stage.events("a") == ["e1", "e2"]


async def test_a_manual_retry_of_a_dead_and_skipped_delivery_is_sent(stage: Stage) -> None:
    await stage.start()
    put(stage, "e2", 2, 5)
    await stage.attempts(1)
    put(stage, "e1", 1, attempts=10, revision=7, manual="retry")
    assert states(stage, await stage.attempts(2))[1] == ("e1", 11, "delivered", None)


async def test_a_manual_retry_of_the_delivery_in_flight_ends_with_it(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 500, 200)
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.attempts(1)
    put(stage, "e1", 1, attempts=1, revision=7, manual="retry")
    await stage.attempts(2)
    (waiting,) = await stage.log.seen(rung("5m"), 1)
    put(stage, "e2", 2, 5)
    await stage.attempts(3)
    stage.put_back(waiting)
    assert await stage.offset() == 4
    assert stage.events("a") == ["e1", "e1", "e2"]


async def test_a_settlement_is_written_after_all_other_records_of_the_delivery(stage: Stage) -> None:
    stage.log.hold(TopicName.ATTEMPTS)
    await stage.start()
    put(stage, "e1", 1, 1)
    await stage.attempts(1)
    await settle()
    assert settled(stage) == [], "its successor would prove what nobody has recorded"
    stage.log.release(TopicName.ATTEMPTS)
    await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    assert settled(stage) == [(1, "delivered")]
    assert await stage.offset() == 1
