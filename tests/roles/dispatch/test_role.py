"""The dispatch role on fakes: what is sent, what is written, and what may be committed when."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import Defect, Hindered, HookstreamError, RecordTooLarge
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpReply, HttpRequest, HttpTiming
from app.core.offsets.partitions import CommittedOffset
from app.core.offsets.runs import Runs
from app.core.offsets.watermark import encode_finished
from app.core.records import delivery as delivery_record
from app.core.records import ordered
from app.core.topics.names import TopicName
from app.profiles.requests import RequestBuilder
from app.roles.dispatch.lanes import LaneLimits
from app.roles.dispatch.role.worker import DispatchRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, FixedDice, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.sender import ScriptedSender, refusal, reply
from tests.fakes.source import MemoryGroup

TOPICS = topics_of(Settings(topic_prefix="", partitions=2, replication_factor=1))
KEYRING = AesKeyRing("k1:" + base64.b64encode(bytes(32)).decode())
ZERO, ONE = (TopicName.DELIVERIES, 0), (TopicName.DELIVERIES, 1)
DICE = 0.5
JITTER = 1.05


def url_of(endpoint_id: str) -> str:
    return f"https://{endpoint_id}.example/"


def rung(name: str) -> str:
    return f"{TopicName.DELIVERIES_DELAY}.{name}"


class Stage:
    """A dispatch worker with everything around it in memory."""

    def __init__(
        self, limits: LaneLimits | None = None, sender: Callable[[FakeClock], ScriptedSender] | None = None
    ) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.group = MemoryGroup(self.log, [TopicName.DELIVERIES], self.clock)
        self.source = self.group.member()
        self.sender = sender(self.clock) if sender else ScriptedSender()
        self.feed = MemoryFeed()
        self.meter = PrometheusMeter()
        self.role = DispatchRole(
            source=self.source,
            producer=self.log,
            sender=self.sender,
            feed=self.feed,
            keyring=KEYRING,
            topics=TOPICS,
            clock=self.clock,
            dice=FixedDice(DICE),
            meter=self.meter,
            limits=limits or LaneLimits(),
        )
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run, with both partitions."""
        self.running = asyncio.create_task(self.role.run())
        await settle()
        await self.source.assign(ZERO, ONE)

    async def stop(self) -> None:
        """Cancel, and let the worker finish at a run."""
        self.clock.auto = True
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
            assert not self.source.running

    def endpoint(self, id_: str, **fields: Any) -> None:
        """An endpoint at a URL of its own, or a new version of it."""
        known = self.feed.directory.endpoint(id_)
        profile = fields.pop("profile", "standard")
        owner = f"acme/{id_}"
        secret = KEYRING.seal("whsec_" + base64.b64encode(bytes(24)).decode(), owner, 0)
        made = Endpoint(
            id=id_,
            tenant="acme",
            mode="live",
            url=url_of(id_),
            events=("*",),
            profile=profile,
            secrets=(secret,),
            version=known.version + 1 if known else 1,
        )
        self.feed.directory.put_endpoint(msgspec.structs.replace(made, **fields))

    def put(self, endpoint_id: str, event: str = "e1", *, partition: int = 0, position: int = 0, **fields: Any) -> None:
        """A delivery for an endpoint."""
        delivery = Delivery(
            id=f"dlv_{event}",
            endpoint_id=endpoint_id,
            event_id=event,
            event_type="a.b",
            tenant="acme",
            mode="live",
            created_at="2026-01-01T00:00:00Z",
            body=b'{"type":"a.b","data":{"n":1}}',
            accepted_at_ms=self.clock.now_ms(),
        )
        headers = delivery_record.encode(msgspec.structs.replace(delivery, **fields))
        if position:
            headers.append(("registry-position", b"%d" % position))
        self.log.put(
            TopicName.DELIVERIES, key=endpoint_id.encode(), value=delivery.body, headers=headers, partition=partition
        )

    def put_back(self, record: MemoryRecord) -> None:
        """What the delay role does at the due time."""
        self.log.put(
            TopicName.DELIVERIES, key=record.key, value=record.value, headers=record.headers, partition=record.partition
        )

    async def attempts(self, number: int) -> list[dict[str, Any]]:
        """Wait for that many records of `attempts`."""
        return [msgspec.json.decode(record.value or b"") for record in await self.log.seen(TopicName.ATTEMPTS, number)]

    async def offset(self, place: tuple[str, int] = ZERO) -> int:
        """What is committed once the next commit has taken place; nothing counts as 0."""
        await self.clock.advance(0.5)
        return self.group.offset(place) or 0

    def events(self, endpoint_id: str) -> list[str]:
        """The event ids of the requests to an endpoint."""
        return [dict(request.headers)["webhook-id"] for request in self.sender.to(url_of(endpoint_id))]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_a_request_under_way_is_waited_for_as_long_as_its_timeout(stage: Stage) -> None:
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


def delayed(record: MemoryRecord) -> Delivery:
    return delivery_record.decode(record.key, record.value, record.headers)[0]


# --- one delivery -------------------------------------------------------------------------------------------------


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


async def test_an_exhausted_delivery_goes_to_the_dead_with_its_last_outcome(stage: Stage) -> None:
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


async def test_410_is_the_end_where_the_profile_says_so(stage: Stage) -> None:
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


# --- what ends without an attempt -----------------------------------------------------------------------------------


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


async def test_deliveries_of_a_paused_endpoint_are_put_aside_for_its_resume(stage: Stage) -> None:
    stage.endpoint("a", status="paused")
    await stage.start()
    stage.put("a", attempts=3)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), delayed(dead).attempts, delayed(dead).event_id) == ("paused", 3, "e1")
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["attempt"]) == ("dead", 3)
    assert stage.sender.requests == []
    assert await stage.offset() == 1


async def test_an_ordered_delivery_of_a_paused_endpoint_goes_back_to_its_line_as_it_is(stage: Stage) -> None:
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


async def test_an_unreadable_record_is_passed_over(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=b"{}", headers=[("event-id", b"e")], partition=0)
    stage.put("a")
    await stage.attempts(1)
    assert await stage.offset() == 2


UNUSABLE: dict[str, dict[str, Any]] = {
    "no key opens its secret": {"secrets": (KEYRING.seal("whsec_AAAA", "somebody/else", 0),)},
    "it has no secret": {"secrets": ()},
    "its scheme cannot use it": {"secrets": (KEYRING.seal("no base64!", "acme/a", 0),)},
    "its profile is unknown": {"profile": "of the future"},
}


@pytest.mark.parametrize("fields", UNUSABLE.values(), ids=UNUSABLE)
async def test_what_cannot_be_signed_is_recorded_follows_its_schedule_and_ends(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.endpoint("a", schedule=(0, 5), **fields)
    stage.endpoint("b")
    await stage.start()
    stage.put("a")
    stage.put("b", "e2")
    (record,) = await stage.log.seen(rung("5s"), 1)
    assert delayed(record).attempts == 1
    stage.put_back(record)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), dead.header("last-result"), delayed(dead).attempts) == ("exhausted", "not_sent", 2)
    told = [each for each in await stage.attempts(3) if each["endpoint_id"] == "a"]
    assert [(each["attempt"], each["state"], each["result"]) for each in told] == [
        (1, "retrying", "not_sent"),
        (2, "dead", "not_sent"),
    ]
    assert all(each["error"].startswith("no request could be built: ") for each in told)
    assert stage.events("a") == [] and stage.events("b") == ["e2"]
    signals = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert [each["outcome"] for each in signals if each["delivery_id"] == "dlv_e1"] == ["unsent"], "none of its health"
    assert 'attempts_total{attempt="first",result="not_sent"} 1.0' in stage.meter.exposition().decode()


async def test_an_error_of_ours_while_a_request_is_built_stops_no_other_delivery(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.endpoint("a")
    stage.endpoint("b")
    build = RequestBuilder.request

    def broken(self: RequestBuilder, delivery: Delivery, *others: Any) -> HttpRequest:
        if delivery.endpoint_id == "a":
            raise ZeroDivisionError("ours")
        return build(self, delivery, *others)

    monkeypatch.setattr(RequestBuilder, "request", broken)
    await stage.start()
    stage.put("a")
    stage.put("b", "e2")
    told = {each["endpoint_id"]: each["result"] for each in await stage.attempts(2)}
    assert told == {"a": "not_sent", "b": "ok"}
    assert stage.running is not None and not stage.running.done()


# --- offsets --------------------------------------------------------------------------------------------------------


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


async def test_what_is_finished_above_an_open_offset_is_in_the_commits_metadata(stage: Stage) -> None:
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


async def test_what_a_refused_commit_would_have_said_is_in_the_next_one(stage: Stage) -> None:
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


async def test_a_record_that_can_never_be_written_ends_the_run_uncommitted(stage: Stage) -> None:
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


# --- poison ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"arrival": 3, "ordering_key": "k"}])
async def test_a_delivery_whose_value_is_no_event_is_dead_and_its_line_goes_on(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", "e1", **fields)
    record = stage.log.partitions[ZERO][0]
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=b"\xff{", headers=record.headers, partition=0)
    stage.put("a", "e3")
    attempts = await stage.attempts(3)
    assert sorted((each["state"], each.get("reason")) for each in attempts)[0] == ("dead", "unreadable")
    (dead,) = stage.log.of(TopicName.DELIVERIES_DEAD)
    assert (dead.value, dead.header("reason")) == (b"\xff{", "unreadable")
    await stage.log.seen(TopicName.DELIVERIES_ORDERED, 2 if fields.get("arrival") else 0)
    assert await stage.offset() == 3


async def test_what_is_no_delivery_is_passed_over_and_counted(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", "e1", attempts=-100)
    stage.put("a", "e2", accepted_at_ms=10**400)
    stage.put("a", "e3", position=10**30)
    stage.put("a", "e4", body=b"")
    headers = stage.log.partitions[ZERO][3].headers
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=bytes(TOPICS.max_record_bytes), headers=headers, partition=0)
    stage.put("a", "e6")
    attempts = await stage.attempts(2)
    assert [each["event_id"] for each in attempts] == ["e4", "e6"]
    assert await stage.offset() == 6
    assert b'records_unreadable_total{topic="deliveries"} 4.0' in stage.meter.exposition()


async def test_a_jump_of_the_wall_clock_holds_back_nothing(stage: Stage) -> None:
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


# --- assignments ----------------------------------------------------------------------------------------------------


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


async def test_a_partition_that_is_revoked_while_it_waits_for_the_registry_is_let_go(stage: Stage) -> None:
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


# --- lanes ----------------------------------------------------------------------------------------------------------


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


async def test_what_waits_behind_an_endpoint_that_hangs_is_given_back(stage: Stage) -> None:
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


async def test_many_endpoints_that_hang_do_not_keep_the_next_one_from_its_request(stage: Stage) -> None:
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


# --- what health is told --------------------------------------------------------------------------------------------


def signals(stage: Stage) -> list[tuple[str, str | None]]:
    """(outcome, why dead) of what was told."""
    said = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    return [(each["outcome"], each.get("dead")) for each in said]


async def test_health_is_told_of_failures_and_of_the_first_success_after_one(stage: Stage) -> None:
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


async def test_health_is_told_of_every_failure_where_failures_are_counted(stage: Stage) -> None:
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


async def test_health_is_told_of_the_dead_and_not_of_what_a_pause_puts_aside(stage: Stage) -> None:
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


async def test_what_a_hostile_receiver_answers_fits_into_the_attempt_and_says_that_it_was_cut(stage: Stage) -> None:
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


async def test_a_delivery_whose_event_was_left_out_dies_and_says_why(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", omitted=300_000, body=b"")
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("dead", "unrepresentable")
    assert "max.message.bytes" in attempt["error"]
    assert stage.sender.requests == []


async def test_what_this_machine_lacks_is_charged_to_nobody_and_slows_dispatch_down(stage: Stage) -> None:
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
