"""The dispatch role and deliveries that are retried or cancelled on request: one final state, whatever waits where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.records import delivery
from app.core.topics.names import TopicName
from tests.roles.dispatch.dispatch_stage import Stage, rung, url_of

#: the time of a request, after the deliveries of these tests were accepted
ASKED = 2_000_000_000_000


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.endpoint("a")
    yield made
    await made.stop()


def told(attempts: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(each["attempt"], each["trigger"], each["state"]) for each in attempts]


async def test_a_manual_retry_continues_the_numbers_and_its_retries_are_ordinary(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500)
    await stage.start()
    stage.put("a", attempts=3, revision=ASKED, manual="retry")
    (attempt,) = await stage.attempts(1)
    assert told([attempt]) == [(4, "manual", "retrying")]
    (record,) = await stage.log.seen(rung("2h"), 1)
    waiting, _ = delivery.decode(record.key, record.value, record.headers)
    assert (waiting.attempts, waiting.revision, waiting.manual) == (4, ASKED, None)


async def test_the_copy_in_the_ladder_leaves_no_trace_after_a_retry_on_request(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 200)
    await stage.start()
    stage.put("a")
    (waiting,) = await stage.log.seen(rung("5s"), 1)
    stage.put("a", attempts=1, revision=ASKED, manual="retry")
    assert told(await stage.attempts(2)) == [(1, "first", "retrying"), (2, "manual", "delivered")]
    stage.feed.directory.put_revision(DeliveryRevision(id="dlv_e1", number=ASKED))
    stage.put_back(waiting)
    assert await stage.offset() == 3
    assert len(stage.sender.requests) == 2 and len(stage.log.of(TopicName.ATTEMPTS)) == 2


async def test_a_superseded_copy_in_the_ladder_is_dropped_by_a_worker_that_only_read_the_registry(stage: Stage) -> None:
    stage.feed.directory.put_revision(DeliveryRevision(id="dlv_e1", number=ASKED))
    await stage.start()
    stage.put("a", attempts=1)
    stage.put("a", "e2")
    await stage.attempts(1)
    assert stage.events("a") == ["e2"]
    assert await stage.offset() == 2


async def test_a_superseded_copy_in_a_lane_is_dropped_when_it_is_due(stage: Stage) -> None:
    stage.endpoint("a", max_in_flight=1)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", "e0")
    await stage.sender.called(1)
    stage.put("a", "e1")
    stage.put("a", "e1", revision=ASKED, manual="cancel")
    (ended,) = await stage.attempts(1)
    assert (ended["state"], ended["result"], ended["attempt"]) == ("cancelled", "cancelled", 0)
    stage.sender.release(url_of("a"))
    await stage.attempts(2)
    assert await stage.offset() == 3
    assert stage.events("a") == ["e0"]


@pytest.mark.parametrize("asked", ["retry", "cancel"])
async def test_a_manual_action_during_a_successful_request_has_no_effect(stage: Stage, asked: str) -> None:
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    stage.put("a", revision=ASKED, manual=asked)
    assert await stage.offset() == 0
    stage.sender.release(url_of("a"))
    assert await stage.offset() == 2
    assert told(await stage.attempts(1)) == [(1, "first", "delivered")]
    assert len(stage.sender.requests) == 1 and not stage.log.of(rung("5s"))


async def test_a_retry_requested_during_a_failing_request_gets_the_next_number(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 200)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    stage.put("a", revision=ASKED, manual="retry")
    await stage.offset()
    stage.sender.release(url_of("a"))
    assert told(await stage.attempts(2)) == [(1, "first", "retrying"), (2, "manual", "delivered")]
    (waiting,) = await stage.log.seen(rung("5s"), 1)
    stage.put_back(waiting)
    assert await stage.offset() == 3
    assert len(stage.sender.requests) == 2


async def test_a_cancellation_during_a_request_that_fails_ends_the_delivery_after_it(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    stage.put("a", revision=ASKED, manual="cancel")
    await stage.offset()
    stage.sender.release(url_of("a"))
    assert told(await stage.attempts(2)) == [(1, "first", "retrying"), (1, "manual", "cancelled")]
    (waiting,) = await stage.log.seen(rung("5s"), 1)
    stage.put_back(waiting)
    assert await stage.offset() == 3
    assert len(stage.sender.requests) == 1


async def test_deliveries_waiting_for_a_request_are_read_again_by_the_next_owner(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 200)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a")
    await stage.sender.called(1)
    stage.put("a", revision=ASKED, manual="retry")
    await stage.offset()
    stage.clock.auto = True
    await stage.source.revoke((TopicName.DELIVERIES, 0))
    stage.sender.release(url_of("a"))
    await stage.source.assign((TopicName.DELIVERIES, 0))
    attempts = await stage.attempts(1)
    assert [each["state"] for each in attempts][-1] in ("retrying", "delivered")
    await stage.sender.called(2)


async def test_a_key_queue_continues_after_its_delivery_was_cancelled_in_the_ladder(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500)
    await stage.start()
    stage.put("a", ordering_key="k", sequence=1, arrival=4)
    await stage.log.seen(rung("5s"), 1)
    assert not stage.log.of(TopicName.DELIVERIES_ORDERED)
    stage.put("a", ordering_key="k", sequence=1, arrival=4, attempts=1, revision=ASKED, manual="cancel")
    (settled,) = await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    assert (settled.header("settles"), settled.header("outcome")) == ("4", "cancelled")


async def test_a_delivery_cancelled_in_its_key_queue_ends_when_it_is_released(stage: Stage) -> None:
    stage.feed.directory.put_revision(DeliveryRevision(id="dlv_e1", number=ASKED, cancel=True))
    await stage.start()
    stage.put("a", ordering_key="k", sequence=1, arrival=4)
    (settled,) = await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    assert settled.header("outcome") == "cancelled"
    assert told(await stage.attempts(1)) == [(0, "first", "cancelled")] and not stage.sender.requests


async def test_a_dead_delivery_keeps_its_revision_and_is_not_superseded_when_resumed(stage: Stage) -> None:
    stage.endpoint("a", status="paused")
    await stage.start()
    stage.put("a", revision=ASKED, manual="retry")
    (record,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    kept, _ = delivery.decode(record.key, record.value, record.headers)
    assert kept == msgspec.structs.replace(kept, revision=ASKED, manual=None)
    assert isinstance(kept, Delivery)


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_manual_action_does_not_affect_a_later_event_with_the_same_id(stage: Stage, cancel: bool) -> None:
    stage.feed.directory.put_revision(DeliveryRevision(id="dlv_e1", number=ASKED, cancel=cancel, source="0:3"))
    await stage.start()
    stage.put("a", "e1", source="0:3", attempts=1)
    stage.put("a", "e1", source="1:8")
    assert [each["state"] for each in await stage.attempts(2 if cancel else 1)][-1] == "delivered"
    assert stage.events("a") == ["e1"] and await stage.offset() == 2


async def test_a_revision_applies_only_to_its_own_event(stage: Stage) -> None:
    stage.sender.script(url_of("a"), 500, 200)
    await stage.start()
    stage.put("a", "e1", source="0:3", attempts=1, revision=ASKED, manual="retry")
    await stage.attempts(1)
    stage.put("a", "e1", source="1:8")
    await stage.attempts(2)
    stage.put("a", "e1", source="0:3", attempts=1)
    assert await stage.offset() == 3
    assert len(stage.sender.requests) == 2, "the waiting copy of the first one"
