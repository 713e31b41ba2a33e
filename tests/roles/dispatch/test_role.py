"""The dispatch role on fakes: what becomes of a delivery by its outcome, its endpoint and its data."""

from __future__ import annotations

import pytest

from app.core.errors import Defect, Hindered
from app.core.model.delivery import Delivery
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.records import delivery as delivery_record
from app.core.records import ordered
from app.core.topics.names import TopicName
from tests.fakes.clock import settle
from tests.fakes.sender import refusal, reply
from tests.roles.dispatch.dispatch_stage import JITTER, ONE, ZERO, Stage, delayed, rung, url_of


async def test_a_stop_waits_for_a_request_in_flight_as_long_as_its_timeout(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.sender.hold(url_of("a"))
    stage.put("a")
    await stage.sender.called(1)
    waiting = stage.role.report()
    assert waiting.settling is None
    assert waiting.places[ZERO].low == 0
    assert waiting.places[ZERO].waits_until_s == stage.clock.monotonic() + 20
    assert waiting.places[ONE].waits_until_s is None, "nothing of it is under way"
    stage.sender.release(url_of("a"))
    await stage.attempts(1)
    await settle()
    assert stage.role.report().places[ZERO].low == 1


async def test_a_delivery_is_sent_signed_recorded_and_committed(stage: Stage) -> None:
    stage.endpoint("a", headers={"x-own": "1"})
    assert stage.role.ready() is not None
    await stage.start()
    assert stage.role.ready() is None
    stage.put("a", sequence=7, ordering_key="ö", replay_id="rpl_1")
    (attempt,) = await stage.attempts(1)
    (request,) = stage.sender.requests
    headers = dict(request.headers)
    assert request.body == b'{"id":"e1","type":"a.b","timestamp":"2026-01-01T00:00:00Z","data":{"n":1}}'
    assert headers["webhook-signature"].startswith("v1,")
    assert (headers["webhook-id"], headers["webhook-attempt"], headers["x-own"]) == ("e1", "1", "1")
    assert (headers["webhook-sequence"], headers["webhook-ordering-key"]) == ("7", "%C3%B6")
    assert (attempt["state"], attempt["attempt"], attempt["trigger"], attempt["status"]) == (
        "delivered",
        1,
        "replay",
        200,
    )
    assert await stage.offset() == 1


async def test_500_500_200_is_three_attempts_of_one_event_through_two_rungs(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), 500, 500, 200)
    await stage.start()
    stage.put("a")
    for number, (name, delay) in enumerate((("5s", 5), ("5m", 300)), 1):
        (record,) = await stage.log.seen(rung(name), 1)
        waiting = delayed(record)
        assert (waiting.attempts, waiting.event_id, waiting.id) == (number, "e1", "dlv_e1")
        assert waiting.due_at_ms == stage.clock.now_ms() + delay * 1000 * JITTER
        assert record.partition == 0 and record.key == b"a" and record.value == b'{"type":"a.b","data":{"n":1}}'
        await stage.clock.advance(delay * JITTER)
        stage.put_back(record)
    attempts = await stage.attempts(3)
    assert [each["attempt"] for each in attempts] == [1, 2, 3]
    assert [each["state"] for each in attempts] == ["retrying", "retrying", "delivered"]
    assert [each["trigger"] for each in attempts] == ["first", "retry", "retry"]
    assert [each["result"] for each in attempts] == ["http_5xx", "http_5xx", "ok"]
    assert stage.events("a") == ["e1", "e1", "e1"]
    assert [dict(each.headers)["webhook-attempt"] for each in stage.sender.requests] == ["1", "2", "3"]
    assert await stage.offset() == 3


async def test_an_exhausted_delivery_becomes_a_dead_letter_with_its_last_outcome(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0.0, 5.0))
    stage.sender.script(url_of("a"), 503)
    await stage.start()
    stage.put("a", attempts=1, due_at_ms=stage.clock.now_ms())
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), dead.header("last-result"), dead.header("last-status")) == (
        "exhausted",
        "http_5xx",
        "503",
    )
    assert dead.header("died-at") == str(stage.clock.now_ms())
    assert (delayed(dead).attempts, delayed(dead).due_at_ms) == (2, 0)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"], attempt["attempt"]) == ("dead", "exhausted", 2)
    assert await stage.offset() == 1


async def test_410_ends_the_delivery_if_the_profile_disables_on_it(stage: Stage) -> None:
    stage.endpoint("a")
    stage.endpoint("b", profile="bota")
    stage.sender.script(url_of("a"), 410)
    stage.sender.script(url_of("b"), 410)
    await stage.start()
    stage.put("a")
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.key, dead.header("reason"), dead.header("last-status")) == (b"a", "gone", "410")
    stage.put("b")
    assert delayed((await stage.log.seen(rung("1m"), 1))[0]).attempts == 1


@pytest.mark.parametrize(("asked", "seconds", "name"), [("120", 120, "1m"), ("1", 5, "5s"), ("nonsense", 5, "5s")])
async def test_retry_after_can_only_push_the_attempt_later(stage: Stage, asked: str, seconds: int, name: str) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), reply(503, retry_after=asked))
    await stage.start()
    stage.put("a")
    (record,) = await stage.log.seen(rung(name), 1)
    assert delayed(record).due_at_ms == stage.clock.now_ms() + seconds * 1000 * JITTER


async def test_no_answer_is_a_failed_attempt_too(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0.0,))
    stage.sender.script(url_of("a"), refusal("timeout"))
    await stage.start()
    stage.put("a")
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("last-result"), dead.header("last-status")) == ("timeout", None)
    assert dead.header("last-error") == "it ended with timeout"


async def test_a_sender_that_cannot_write_one_delivery_does_not_stop_the_others(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0, 0, 0))
    stage.endpoint("b")
    stage.sender.script(url_of("a"), Defect("a header that no request can carry"))
    await stage.start()
    stage.put("a", "e1", attempts=2)
    stage.put("b", "e2")
    stage.put("a", "e3")
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("event-id"), dead.header("reason"), dead.header("last-result")) == (
        "e1",
        "exhausted",
        "not_sent",
    )
    assert delayed(dead).attempts == 3
    states = {each["event_id"]: each["state"] for each in await stage.attempts(3)}
    assert states == {"e1": "dead", "e2": "delivered", "e3": "retrying"}
    assert await stage.offset() == 3
    assert stage.running is not None and not stage.running.done()


async def test_data_that_the_profile_cannot_carry_is_dead_unsent(stage: Stage) -> None:
    stage.endpoint("a", profile="efficlose")
    await stage.start()
    body = b'{"type":"a.b","data":{"n":123456789012345678901}}'
    delivery = Delivery(
        id="d", endpoint_id="a", event_id="e", event_type="a.b", tenant="acme", mode="live", created_at="x", body=body
    )
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=body, headers=delivery_record.encode(delivery), partition=0)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), dead.value, stage.sender.requests) == ("unrepresentable", body, [])


async def test_deliveries_of_a_paused_endpoint_are_parked_until_its_resume(stage: Stage) -> None:
    stage.endpoint("a", status="paused")
    await stage.start()
    stage.put("a", attempts=3)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), delayed(dead).attempts, delayed(dead).event_id) == ("paused", 3, "e1")
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["attempt"]) == ("dead", 3)
    assert stage.sender.requests == []
    assert await stage.offset() == 1


async def test_an_ordered_delivery_of_a_paused_endpoint_returns_to_its_key_queue_unchanged(stage: Stage) -> None:
    stage.endpoint("a", status="paused")
    await stage.start()
    stage.put("a", attempts=3, ordering_key="k", arrival=8)
    (back,) = await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    key, said = ordered.read(back.headers)
    assert (key, said, delayed(back).attempts) == ("k", ordered.Settlement(8, "parked"), 3)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("dead", "paused")
    assert stage.log.of(TopicName.DELIVERIES_DEAD) == []


@pytest.mark.parametrize("status", ["disabled", None])
async def test_deliveries_of_a_disabled_or_removed_endpoint_are_cancelled(stage: Stage, status: str | None) -> None:
    if status:
        stage.endpoint("a", status=status)
    await stage.start()
    stage.put("a", attempts=1)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("cancelled", f"endpoint_{status or 'removed'}")
    assert await stage.offset() == 1
    assert stage.sender.requests == [] and stage.log.of(TopicName.DELIVERIES_DEAD) == []


@pytest.mark.parametrize(("change", "state"), [("paused", "dead"), ("disabled", "cancelled"), (None, "cancelled")])
async def test_a_change_reaches_deliveries_that_already_wait_in_a_lane(
    stage: Stage, change: str | None, state: str
) -> None:
    stage.endpoint("a", max_in_flight=1)
    stage.sender.hold(url_of("a"))
    await stage.start()
    stage.put("a", "e1")
    stage.put("a", "e2")
    await stage.sender.called(1)
    if change:
        stage.endpoint("a", max_in_flight=1, status=change)
    else:
        stage.feed.directory.remove_endpoint("a")
    stage.sender.release(url_of("a"))
    assert [each["state"] for each in await stage.attempts(2)] == ["delivered", state]
    assert stage.events("a") == ["e1"]


async def test_an_unreadable_record_is_skipped(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=b"{}", headers=[("event-id", b"e")], partition=0)
    stage.put("a")
    await stage.attempts(1)
    assert await stage.offset() == 2


async def test_a_hostile_response_fits_into_the_attempt_and_is_marked_as_cut(stage: Stage) -> None:
    stage.endpoint("a")
    flood = tuple((f"x-{n}", "\ufffd" * 7800) for n in range(100))
    answer = HttpReply(status=500, headers=flood, body=b"\xff" * 65_536, truncated=False, timing=HttpTiming())
    stage.sender.script(url_of("a"), answer, 200)
    await stage.start()
    stage.put("a")
    (attempt,) = await stage.attempts(1)
    assert attempt["cut"] == ["headers", "body"]
    assert len(stage.log.of(TopicName.ATTEMPTS)[0].value or b"") < 20_000
    assert stage.running is not None and not stage.running.done()


async def test_a_delivery_without_its_event_dies_with_the_reason(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", omitted=300_000, body=b"")
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("dead", "unrepresentable")
    assert "max.message.bytes" in attempt["error"]
    assert stage.sender.requests == []


async def test_missing_resources_slow_dispatch_down_and_count_against_no_endpoint(stage: Stage) -> None:
    stage.endpoint("a")
    stage.sender.script(url_of("a"), Hindered("descriptors", "none left"), Hindered("dns", "none"), 200)
    await stage.start()
    delayed = f"{TopicName.DELIVERIES_DELAY}.5s"
    stage.put("a", "e1")
    await stage.sender.called(1)
    await settle()
    assert stage.log.of(delayed) == [], "its place is kept for a moment"
    await stage.clock.advance(0.6)
    (waiting,) = await stage.log.seen(delayed, 1)
    assert waiting.header("attempts") is None
    stage.put("a", "e2")
    await stage.sender.called(2)
    await stage.clock.advance(0.6)
    assert len(stage.log.of(delayed)) == 1, "for longer at the second time"
    await stage.clock.advance(0.6)
    await stage.log.seen(delayed, 2)
    stage.put("a", "e3")
    (attempt,) = await stage.attempts(1)
    assert (attempt["event_id"], attempt["state"], attempt["attempt"]) == ("e3", "delivered", 1)
    exposed = stage.meter.exposition().decode()
    for cause in ("descriptors", "dns"):
        assert f'hindrances_total{{cause="{cause}"}} 1.0' in exposed
    assert 'deliveries_deferred_total{reason="hindered"} 2.0' in exposed
    assert not stage.log.of(TopicName.ENDPOINTS_SIGNALS)[1:], "health is told of the success alone"
