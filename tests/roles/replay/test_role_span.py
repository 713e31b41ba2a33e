"""A replay of a span of time on fakes: for all endpoints or one, by what became of it, through every interruption."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.core.model import ids
from app.core.model.replay import Replay, ReplayEstimate
from app.core.model.timestamps import iso
from app.core.records.command import CancelReplay, CreateReplay, PauseReplay, RemoveEndpoint, ResumeReplay
from app.core.topics.names import TopicName
from app.roles.replay.role.dry_run import DryRun
from tests.roles.replay.replay_stage import NUMBER, WORKER, Stage


def span(stage: Stage, target: str = "", name: str = "rpl", **fields: Any) -> Replay:
    ends = stage.ends(TopicName.EVENTS_RAW)
    merged = {"begin": dict.fromkeys(ends, 0), "end": ends, "created_at_ms": stage.clock.now_ms(), **fields}
    return Replay(id=name, tenant="t", mode="live", endpoint_id=target, reason="replay", **merged)


def events(stage: Stage, count: int, **fields: Any) -> None:
    """Events of one ordering key, in two partitions in run."""
    for number in range(count):
        stage.raw(number % 2, 100 + number, number + 1, id=f"e{number:02}", ordering_key="o", **fields)


def spoken(stage: Stage, endpoint: str, event: str, state: str, **more: str) -> None:
    """A record of attempts."""
    value = {"delivery_id": f"{endpoint}/{event}", "event_id": event, "state": state, **more}
    stage.log.put(TopicName.ATTEMPTS, key=endpoint.encode(), value=json.dumps(value).encode(), partition=NUMBER)


def put(stage: Stage, topic: str, endpoint: str, event: str, **headers: str) -> None:
    """A record of a delivery."""
    named = [("event-id", event.encode()), *((name, text.encode()) for name, text in headers.items())]
    stage.log.put(topic, key=endpoint.encode(), value=b"{}", headers=named, partition=NUMBER)


def appended(stage: Stage, topic: str = TopicName.DELIVERIES) -> list[tuple[str, str]]:
    """(endpoint, event) of what was appended for the replay."""
    mine = [each for each in stage.log.of(topic) if each.header("replay-id")]
    return [((each.key or b"").decode(), each.header("event-id") or "") for each in mine]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    running = Stage()
    running.endpoint()
    yield running
    await running.stop()


async def test_all_matching_endpoints_get_all_events_in_order(stage: Stage) -> None:
    stage.endpoint("other")
    stage.endpoint("b-only", events=("b.*",))
    stage.endpoint("foreign", tenant="u")
    stage.endpoint("line", ordering="fifo")
    events(stage, 6)
    stage.raw(0, 200, id="e01", ordering_key="o")  # a producer's duplicate: no sight
    stage.do(CreateReplay(span(stage)))
    stage.endpoint("later", created_at_ms=stage.clock.now_ms() + 1)
    await stage.start()
    await stage.attempt_all(2)
    wanted = [f"e{number:02}" for number in range(6)]
    for name in ("ep", "other"):
        assert [event for endpoint, event in appended(stage) if endpoint == name] == wanted
    assert appended(stage, TopicName.DELIVERIES_ORDERED) == [("line", event) for event in wanted]
    assert {endpoint for endpoint, _ in appended(stage)} == {"ep", "other"}
    first = next(each for each in stage.appended() if each.key == b"ep")
    assert first.header("delivery-id") == ids.delivery_id("t", "e00", "ep", "rpl")
    assert (first.header("sequence"), first.header("replay-id")) == ("1", "rpl")
    assert (stage.replay().state, stage.replay().sent) == ("done", 18)


async def test_a_slow_endpoint_does_not_hold_back_the_others(stage: Stage) -> None:
    stage.endpoint("slow", max_in_flight=1)
    events(stage, 50)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    seen = 0
    for _ in range(30):
        for record in stage.appended()[seen:]:
            if record.key == b"ep":
                stage.attempt(record)
        seen = len(stage.appended())
        await stage.clock.advance(0.1)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 50, "slow": 1}
    assert stage.replay().state == "running" and sum(stage.replay().done.values()) == 1
    await stage.attempt_all(10)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 50, "slow": 50}
    assert stage.replay().state == "done"


async def test_a_hanging_endpoint_delays_no_other_even_when_the_queues_are_full(stage: Stage) -> None:
    stage.endpoint("hangs", max_in_flight=1)
    events(stage, 2100)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    seen = 0
    for _ in range(90):
        for record in stage.appended()[seen:]:
            if record.key == b"ep":
                stage.attempt(record)
        seen = len(stage.appended())
        await stage.clock.advance(0.1)
    taken = Counter(endpoint for endpoint, _ in appended(stage))
    assert taken["ep"] == 2100 and 1 < taken["hangs"] < 300
    assert stage.replay().state == "running"


async def test_failed_and_missing_depend_on_the_latest_record(stage: Stage) -> None:
    stage.endpoint("new")
    events(stage, 7)
    for event, states in {
        "e00": ["delivered"],
        "e01": ["retrying", "dead"],
        "e02": ["dead", "delivered"],
        "e03": ["retrying"],
        "e04": ["cancelled"],
    }.items():
        for state in states:
            await stage.clock.advance(0.01)
            spoken(stage, "ep", event, state)
    put(stage, TopicName.DELIVERIES_DEAD, "ep", "e05", reason="ordering_dropped")  # the sequencer: without an attempt
    put(stage, TopicName.DELIVERIES, "new", "e00")  # on its way
    stage.log.put(TopicName.ATTEMPTS, key=b"ep", value=b"no json", partition=NUMBER)
    await stage.start()
    stage.do(CreateReplay(span(stage, only="failed", name="failed")))
    await stage.attempt_all(3)
    assert appended(stage) == [("ep", "e01"), ("ep", "e05")]
    stage.do(CreateReplay(span(stage, only="missing", name="missing")))
    await stage.attempt_all(3)
    new = [each for each in appended(stage)[2:] if each[0] == "ep"]
    assert new == [("ep", "e06")]
    assert [event for endpoint, event in appended(stage) if endpoint == "new"] == [f"e{n:02}" for n in range(1, 7)]
    stage.do(CreateReplay(span(stage, only="missing", name="again")))
    await stage.attempt_all(3)
    assert stage.replay("again").sent == 0 and stage.replay("again").state == "done"


async def test_parked_deliveries_are_neither_failed_nor_missing(stage: Stage) -> None:
    events(stage, 2)
    stage.suspend()
    put(stage, TopicName.DELIVERIES_DEAD, "ep", "e00", reason="paused")
    spoken(stage, "ep", "e01", "dead", reason="paused")
    put(stage, TopicName.DELIVERIES_DEAD, "ep", "e01", reason="paused")
    counting = DryRun(stage.past)
    for only in ("failed", "missing"):
        assert (await tried(stage, counting, only=only)).endpoints == {}
    stage.reactivate("resume")
    assert (await tried(stage, counting, only="missing")).endpoints == {}, "its resume is to come"
    stage.do(CancelReplay("resume"))
    assert (await tried(stage, counting, only="missing")).endpoints == {"ep": 2}


async def tried(stage: Stage, counting: DryRun, **fields: Any) -> ReplayEstimate:
    """The result of a trial run."""
    counted = asyncio.create_task(counting.count(span(stage, **fields), within_s=60))
    await stage.clock.advance(5)
    return await counted


async def test_a_dry_run_counts_what_the_replay_then_delivers(stage: Stage) -> None:
    stage.endpoint("other", events=("a.b",))
    stage.endpoint("off", status="disabled")
    stage.endpoint("held", status="paused")
    events(stage, 9)
    stage.raw(1, 300, 0, id="c", type="a.c")
    spoken(stage, "ep", "e01", "dead")
    before = {place: len(records) for place, records in stage.log.partitions.items()}
    counts = {only: await tried(stage, DryRun(stage.past), only=only) for only in ("all", "failed", "missing")}
    assert {place: len(records) for place, records in stage.log.partitions.items() if records} == before
    assert counts["all"].endpoints == {"ep": 10, "other": 9, "held": 10}
    assert (counts["all"].skipped, counts["all"].complete, counts["all"].read) == (10, True, {0: 5, 1: 5})
    assert counts["failed"].endpoints == {"ep": 1}
    assert counts["missing"].endpoints == {"ep": 9, "other": 9, "held": 10}
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    await stage.attempt_all(3)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 10, "other": 9}
    assert Counter(endpoint for endpoint, _ in appended(stage, TopicName.DELIVERIES_DEAD)) == {"held": 10}
    done = stage.replay()
    assert (done.state, done.sent, done.parked, done.skipped) == ("done", 19, 10, 10)


async def test_a_dry_run_that_takes_too_long_is_incomplete(stage: Stage) -> None:
    stage.raw(0, 1)
    stage.reader.committed = {}
    counted = asyncio.create_task(DryRun(stage.past).count(span(stage), within_s=10))
    await stage.clock.advance(11)
    assert (await counted).complete is False and stage.reader.readings == 0


async def test_deliveries_of_a_paused_endpoint_are_parked(stage: Stage) -> None:
    events(stage, 3)
    stage.suspend()
    stage.do(CreateReplay(span(stage, "ep")))
    await stage.start()
    await stage.clock.advance(2)
    assert (stage.replay().state, stage.replay().sent, stage.replay().parked) == ("done", 0, 3)
    aside = stage.log.of(TopicName.DELIVERIES_DEAD)
    assert [each.header("reason") for each in aside] == ["paused"] * 3
    stage.reactivate("resume")
    await stage.attempt_all(5)
    assert appended(stage) == [("ep", "e00"), ("ep", "e01"), ("ep", "e02")]
    assert {each.header("replay-id") for each in stage.appended()} == {"rpl"}


async def test_endpoints_that_are_disabled_or_removed_meanwhile_are_skipped_and_counted(stage: Stage) -> None:
    stage.endpoint("gone", max_in_flight=1)
    stage.endpoint("off", max_in_flight=1)
    events(stage, 6)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 6, "gone": 1, "off": 1}
    stage.do(RemoveEndpoint("gone"))
    stage.suspend("disabled", "off")
    await stage.attempt_all(3)
    done = stage.replay()
    assert (done.state, done.sent, done.skipped) == ("done", 8, 10)
    assert len(appended(stage)) == 8


async def test_a_replay_of_one_endpoint_ends_with_it(stage: Stage) -> None:
    stage.endpoint("ep", max_in_flight=1)
    events(stage, 6)
    stage.do(CreateReplay(span(stage, "ep")))
    await stage.start()
    stage.do(RemoveEndpoint("ep"))
    await stage.clock.advance(3)
    assert len(appended(stage)) == 1 and stage.feed.directory.replays == {} and stage.reader.readings == 0


async def test_the_rate_limits_deliveries_per_second(stage: Stage) -> None:
    stage.endpoint("other")
    events(stage, 20)
    stage.do(CreateReplay(span(stage, rate=5.0)))
    await stage.start()
    before = len(appended(stage))
    for _ in range(5):
        await stage.attempt_all(1)
        now = len(appended(stage))
        assert 4 <= now - before <= 6
        before = now
    await stage.attempt_all(5)
    assert len(appended(stage)) == 40


async def test_a_paused_replay_continues_when_it_is_resumed(stage: Stage) -> None:
    events(stage, 20)
    stage.endpoint("ep", max_in_flight=2)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    stage.do(PauseReplay("rpl"))
    await stage.attempt_all(3)
    assert len(appended(stage)) == 2 and stage.reader.readings == 0
    assert (stage.replay().state, stage.replay().sent) == ("paused", 2)
    stage.do(ResumeReplay("rpl"))
    await stage.attempt_all(5)
    assert [event for _, event in appended(stage)] == [f"e{number:02}" for number in range(20)]
    assert stage.replay().state == "done"


async def test_after_a_crash_the_log_shows_which_deliveries_were_appended(stage: Stage) -> None:
    stage.endpoint("slow", max_in_flight=1)
    events(stage, 20)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    await stage.clock.advance(1)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 20, "slow": 1}
    stage.silent = True  # the registry does not hear of what comes now
    for record in stage.appended():
        stage.attempt(record)
    await stage.clock.advance(0.1)
    assert len(appended(stage)) == 22 and stage.replay().sent == 2, "up to where it is done: the slow one's first event"
    await stage.source.revoke(WORKER)
    stage.silent = False
    await stage.source.assign(WORKER)
    await stage.attempt_all(8)
    assert Counter(appended(stage)).most_common(1)[0][1] == 1, "nothing went out twice"
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 20, "slow": 20}
    assert (stage.replay().state, stage.replay().sent) == ("done", 40), "nor was anything counted twice"


async def test_the_log_shows_it_without_a_report_before_the_crash(stage: Stage) -> None:
    events(stage, 20)
    stage.endpoint("ep", max_in_flight=5)
    stage.do(CreateReplay(span(stage)))
    stage.silent = True
    await stage.start()
    assert len(appended(stage)) == 5
    await stage.source.revoke(WORKER)
    assert stage.replay().state == "pending"
    await stage.clock.advance(6)
    stage.silent = False
    await stage.source.assign(WORKER)
    await stage.attempt_all(6)
    assert [event for _, event in appended(stage)] == [f"e{number:02}" for number in range(20)]
    assert (stage.replay().state, stage.replay().sent) == ("done", 20)


async def test_a_replay_of_a_range_does_not_delay_a_resume(stage: Stage) -> None:
    events(stage, 50)
    stage.do(CreateReplay(span(stage, "ep", rate=0.1)))
    await stage.start()
    stage.suspend()
    stage.aside(7)
    stage.reactivate("resume")
    await stage.clock.advance(5)
    assert stage.replay("resume").state == "done" and stage.replay().state == "running"


async def test_types_select_events_of_a_replay(stage: Stage) -> None:
    events(stage, 2)
    stage.raw(0, 300, 0, id="c", type="a.c")
    stage.do(CreateReplay(msgspec.structs.replace(span(stage), types=("a.c", "x.*"))))
    await stage.start()
    await stage.clock.advance(2)
    assert appended(stage) == [("ep", "c")]


async def test_a_replay_ends_where_a_log_that_has_lost_its_end_ends(stage: Stage) -> None:
    events(stage, 4)
    stage.do(CreateReplay(span(stage, end={0: 50, 1: 2})))
    await stage.start()
    await stage.attempt_all(2)
    assert (stage.replay().state, stage.replay().sent) == ("done", 4)


async def test_a_replay_and_its_dry_run_leave_out_events_that_filters_refuse(stage: Stage) -> None:
    stage.endpoint("even", filter={"data": {"n": {"$in": [0, 2, 4]}}})
    stage.endpoint("none", filter={"data": {"n": -1}})
    for number in range(5):
        stage.raw(number % 2, number, number + 1, id=f"e{number}", data={"n": number})
    stage.raw(0, 9, id="e4", data={"n": 4})  # a producer's duplicate
    stage.reader.committed = stage.ends(TopicName.EVENTS_RAW)
    counted = await tried(stage, DryRun(stage.past))
    assert (counted.endpoints, counted.filtered) == ({"ep": 5, "even": 3}, 7)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    await stage.attempt_all(3)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 5, "even": 3}
    assert (stage.replay().state, stage.replay().sent) == ("done", 8)


async def test_a_replay_and_its_dry_run_leave_out_events_of_other_channels(stage: Stage) -> None:
    stage.endpoint("eu", channels=("eu",))
    stage.endpoint("us", channels=("us", "asia"), filter={"data": {"n": 4}})
    stage.endpoint("none", channels=("moon",))
    for number in range(6):
        channels = None if number == 0 else ["eu"] if number % 2 else ["us", "x"]
        stage.raw(number % 2, number, number + 1, id=f"e{number}", data={"n": number}, channels=channels)
    stage.reader.committed = stage.ends(TopicName.EVENTS_RAW)
    counted = await tried(stage, DryRun(stage.past))
    assert (counted.endpoints, counted.filtered) == ({"ep": 6, "eu": 3, "us": 1}, 1)
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    await stage.attempt_all(3)
    assert Counter(endpoint for endpoint, _ in appended(stage)) == {"ep": 6, "eu": 3, "us": 1}


async def test_a_replay_and_its_dry_run_leave_out_events_that_have_expired(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    for number, expires_ms in enumerate((now_ms - 1, now_ms, now_ms + 3_600_000, None)):
        expires_at = iso(expires_ms) if expires_ms is not None else None
        stage.raw(number % 2, now_ms - 10, number + 1, id=f"e{number}", data={}, expires_at=expires_at)
    stage.reader.committed = stage.ends(TopicName.EVENTS_RAW)
    assert (await tried(stage, DryRun(stage.past))).endpoints == {"ep": 2}
    stage.do(CreateReplay(span(stage)))
    await stage.start()
    await stage.attempt_all(2)
    assert {event for _, event in appended(stage)} == {"e2", "e3"}
    times = {each.header("event-id"): each.header("expires-at") for each in stage.log.of(TopicName.DELIVERIES)}
    assert times == {"e2": str(now_ms + 3_600_000), "e3": None}
