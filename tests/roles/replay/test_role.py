"""The replay role on fakes: oldest first, at the endpoint's pace, as fan-out decided it, and on after interruptions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.core.errors import CommandRefused, RecordTooLarge
from app.core.model import ids
from app.core.model.event_types import EventType
from app.core.records.command import (
    AdvanceReplay,
    CancelReplay,
    CommandAction,
    CommandReply,
    ReactivateEndpoint,
    RecoverEndpoint,
    RemoveEndpoint,
)
from app.core.topics.names import TopicName
from app.roles.replay.role import selector
from tests.roles.replay.replay_stage import NUMBER, WORKER, Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    running = Stage()
    running.endpoint()
    yield running
    await running.stop()


# --- resume -------------------------------------------------------------------------------------------------------


async def test_a_resume_appends_parked_deliveries_oldest_first_and_reports_it(stage: Stage) -> None:
    stage.aside(0)  # of an earlier pause
    stage.suspend()
    for serial in (5, 6, 7):
        stage.aside(serial)
    stage.aside(8, key="somebody else")
    stage.aside(9, reason="exhausted")
    stage.aside(3)  # a retry that came due
    stage.reactivate()
    assert stage.role.ready() is None or not stage.source.running
    await stage.start()
    await stage.clock.advance(1)
    assert stage.values() == [3, 5, 6, 7]
    first = stage.appended()[0]
    assert (first.key, first.partition) == (b"ep", NUMBER)
    assert [name for name, _ in first.headers] == ["delivery-id", "accepted-at", "registry-position"]
    assert first.header("registry-position") == "2", "who sends it must know that the endpoint is active again"
    assert stage.reports[0].state == "running" and stage.replay().state == "running"
    await stage.clock.advance(5)
    assert (stage.replay().state, stage.replay().sent, stage.replay().done) == ("done", 4, {NUMBER: 7})
    assert len(stage.appended()) == 4 and stage.reader.readings == 0


async def test_the_window_limits_unattempted_deliveries(stage: Stage) -> None:
    stage.suspend()
    for serial in range(40):
        stage.aside(serial)
    stage.reactivate()
    await stage.start()
    await stage.clock.advance(3)
    assert stage.values() == list(range(32))
    assert stage.replay().done == {NUMBER: 32} and stage.replay().sent == 32
    for record in stage.appended()[:3]:
        stage.attempt(record)
    stage.log.put(TopicName.ATTEMPTS, key=b"ep", value=b"no json", partition=NUMBER)
    await stage.clock.advance(0)
    assert stage.values() == list(range(35))
    stage.attempt(stage.appended()[0])  # its second attempt
    await stage.clock.advance(59)
    assert len(stage.appended()) == 35
    await stage.clock.advance(2)
    assert len(stage.appended()) == 36, "nothing was attempted for a minute"
    await stage.attempt_all(5)
    assert stage.values() == list(range(40)) and stage.replay().state == "done"


async def test_a_rate_limited_endpoint_gets_its_deliveries_one_by_one(stage: Stage) -> None:
    stage.endpoint(rate_limit=0.5)
    stage.suspend()
    for serial in range(3):
        stage.aside(serial)
    stage.reactivate()
    await stage.start()
    for number in (1, 2, 3):
        await stage.clock.advance(2)
        assert len(stage.appended()) == number
        stage.attempt(stage.appended()[-1])


async def test_deliveries_that_are_parked_shortly_after_the_resume_are_appended(stage: Stage) -> None:
    stage.suspend()
    stage.reactivate()
    await stage.start()
    for serial in range(4):
        await stage.clock.advance(1.8)
        assert stage.replay().state == "running"
        stage.aside(serial)
        stage.aside(99, key="somebody else")
    await stage.clock.advance(5)
    assert stage.values() == [0, 1, 2, 3] and stage.replay().state == "done"


async def test_a_replay_continues_at_the_progress_in_the_registry(stage: Stage) -> None:
    stage.suspend()
    for serial in range(10):
        stage.aside(serial)
    stage.reactivate()
    stage.do(AdvanceReplay("rpl", {NUMBER: 6}, 6, "running"))
    await stage.start()
    await stage.clock.advance(5)
    assert stage.values() == [6, 7, 8, 9] and stage.replay().sent == 10


async def test_a_cancelled_replay_stops_and_a_removed_endpoint_ends_it(stage: Stage) -> None:
    for name in ("ep", "gone"):
        stage.endpoint(name, max_in_flight=1)
        stage.suspend(name=name)
        for serial in range(5):
            stage.aside(serial, key=name)
        stage.reactivate(f"rpl-{name}", name)
    await stage.start()
    assert len(stage.appended()) == 2
    stage.do(CancelReplay("rpl-ep"))
    stage.do(RemoveEndpoint("gone"))
    for record in stage.appended():
        stage.attempt(record)
    await stage.clock.advance(5)
    assert len(stage.appended()) == 2
    assert stage.replay("rpl-ep").state == "cancelled"
    assert "rpl-gone" not in stage.feed.directory.replays
    assert stage.reader.readings == 0


async def test_a_resume_waits_while_its_endpoint_is_paused_again(stage: Stage) -> None:
    stage.endpoint(max_in_flight=2)
    stage.suspend()
    for serial in range(6):
        stage.aside(serial)
    stage.reactivate("first")
    await stage.start()
    stage.suspend()
    stage.aside(0)  # dispatch puts aside what is under way
    stage.aside(1)
    stage.aside(6)
    await stage.attempt_all(3)
    assert stage.values() == [0, 1] and stage.reader.readings == 0, "nothing is held open meanwhile"
    assert (stage.replay("first").state, stage.replay("first").done) == ("running", {NUMBER: 2})
    stage.reactivate("second")
    await stage.attempt_all(12)
    assert stage.values() == [0, 1, 2, 3, 4, 5, 0, 1, 6]
    assert (stage.replay("first").state, stage.replay("second").state) == ("done", "done")
    assert (stage.replay("first").sent, stage.replay("second").sent) == (6, 3)


async def test_a_revoked_worker_reports_and_the_next_one_continues(stage: Stage) -> None:
    stage.endpoint(max_in_flight=2)
    stage.suspend()
    for serial in range(8):
        stage.aside(serial)
    stage.reactivate()
    await stage.start()
    for record in stage.appended():
        stage.attempt(record)
    await stage.clock.advance(0.1)
    await stage.source.revoke(WORKER)
    assert stage.values() == [0, 1, 2, 3] and stage.replay().done == {NUMBER: 4}
    for record in stage.appended():
        stage.attempt(record)
    await stage.clock.advance(5)
    assert len(stage.appended()) == 4 and stage.reader.readings == 0
    await stage.source.assign(WORKER)
    await stage.attempt_all(6)
    assert stage.values() == list(range(8)) and stage.replay().state == "done"


async def test_an_unavailable_registry_gets_the_report_later(stage: Stage) -> None:
    stage.suspend()
    stage.aside(0)
    stage.reactivate()
    stage.silent = True
    await stage.start()
    await stage.clock.advance(20)
    assert stage.values() == [0] and stage.reports == []
    stage.silent = False
    await stage.clock.advance(2)
    assert stage.replay().state == "done" and len(stage.appended()) == 1


async def test_a_failed_replay_is_retried_and_affects_no_other(stage: Stage) -> None:
    stage.suspend()
    stage.aside(0)
    stage.reactivate()
    stage.log.fail(TopicName.DELIVERIES, RecordTooLarge("a delivery"))
    await stage.start()
    await stage.clock.advance(1)
    assert stage.appended() == [] and stage.replay().state == "running"
    await stage.clock.advance(10)
    assert stage.values() == [0] and stage.replay().state == "done"


async def test_slow_endpoints_do_not_delay_other_resumes(stage: Stage) -> None:
    names = [f"ep{number}" for number in range(9)]
    for name in names:
        stage.endpoint(name, max_in_flight=1)
        stage.suspend(name=name)
        for serial in range(2):
            stage.aside(serial, key=name)
        stage.reactivate(f"rpl-{name}", name)
    await stage.start()
    await stage.clock.advance(20)
    assert {record.key for record in stage.appended()} == {name.encode() for name in names[:8]}
    await stage.clock.advance(15)
    assert {record.key for record in stage.appended()} == {name.encode() for name in names}
    assert len(stage.appended()) == 9


async def test_nothing_happens_before_this_process_is_elected(stage: Stage) -> None:
    stage.suspend()
    stage.aside(0)
    stage.reactivate()
    await stage.clock.advance(10)
    assert stage.appended() == [] and stage.role.ready() is None


# --- recover ------------------------------------------------------------------------------------------------------


async def test_a_recovery_delivers_what_was_missed_as_fan_out_decided(stage: Stage) -> None:
    stage.raw(0, 5, 1, id="before")
    stage.suspend("disabled")
    stage.raw(0, 30, 3, id="third", ordering_key="o")
    stage.raw(1, 10, 2, id="first", ordering_key="p")
    stage.raw(1, 20, 0, id="second")
    stage.raw(0, 40, id="before")  # a producer's duplicate: no sight
    stage.raw(0, 41)  # without id and order: nobody knows duplicates of it
    stage.raw(0, 42, 1, id="x", tenant="another")
    stage.raw(0, 43, 1, id="x", mode="test")
    stage.raw(0, 44, 1, id="x", type="b.c")
    stage.log.put(TopicName.EVENTS_RAW, value=b"no event", partition=1, timestamp=1)
    stage.reader.committed = stage.ends(TopicName.EVENTS_RAW)
    stage.reactivate()
    stage.raw(0, 50, 9, id="after")
    stage.do(RecoverEndpoint("ep", "rpl"))
    await stage.start()
    await stage.clock.advance(2)
    assert [record.header("event-id") for record in stage.appended()[:3]] == ["first", "second", "third"]
    assert len(stage.appended()) == 4
    assert [record.header("sequence") for record in stage.appended()] == ["2", None, "3", None]
    assert {record.header("replay-id") for record in stage.appended()} == {"rpl"}
    assert stage.appended()[0].header("delivery-id") == ids.delivery_id("t", "first", "ep", "rpl")
    assert {(record.key, record.partition) for record in stage.appended()} == {(b"ep", NUMBER)}
    assert (stage.replay().state, stage.replay().sent) == ("done", 4)
    assert stage.replay().done == stage.replay().end


async def test_a_recovery_waits_for_fan_out(stage: Stage) -> None:
    stage.suspend("disabled")
    for at in range(3):
        stage.raw(0, at)
    stage.reactivate()
    stage.do(RecoverEndpoint("ep", "rpl"))
    stage.reader.committed = {0: 2}
    await stage.start()
    await stage.clock.advance(30)
    assert stage.appended() == []
    stage.reader.committed = {0: 3}
    await stage.clock.advance(2)
    assert len(stage.appended()) == 3 and stage.replay().state == "done"


async def test_transaction_markers_at_the_end_are_not_waited_for(stage: Stage) -> None:
    stage.suspend("disabled")
    stage.raw(0, 1)
    stage.do(ReactivateEndpoint("ep", {0: 2, 1: 0}, "unused"))
    stage.do(RecoverEndpoint("ep", "rpl"))
    stage.reader.marks[TopicName.EVENTS_RAW, 0] = 1
    await stage.start()
    await stage.clock.advance(5)
    assert len(stage.appended()) == 1 and stage.replay().done == {0: 2}


async def test_a_long_range_is_recovered_in_chunks_at_the_endpoints_pace(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selector, "CHUNK", 7)
    stage.suspend("disabled")
    for number in range(50):
        stage.raw(number % 2, 100 + number, number + 1, id=f"e{number:02}", ordering_key="o")
    stage.reactivate()
    stage.do(RecoverEndpoint("ep", "rpl"))
    await stage.start()
    await stage.clock.advance(3)
    assert len(stage.appended()) == 32 and sum(stage.replay().done.values()) == 32
    await stage.attempt_all(3)
    assert [record.header("event-id") for record in stage.appended()] == [f"e{number:02}" for number in range(50)]
    assert [record.header("sequence") for record in stage.appended()] == [str(number) for number in range(1, 51)]
    assert stage.replay().state == "done"


async def test_an_event_that_its_schema_rejects_is_not_recovered(stage: Stage) -> None:
    stage.feed.directory.put_event_type(EventType(name="a.b", tenant="t", mode="live", schema="{}", enforce="reject"))
    stage.suspend("disabled")
    stage.raw(0, 1, data="wrong")
    stage.raw(0, 2, data="right")
    stage.raw(0, 3, 0, data="wrong", id="accepted-before")
    stage.reactivate()
    stage.do(RecoverEndpoint("ep", "rpl"))
    await stage.start()
    await stage.clock.advance(3)
    assert len(stage.appended()) == 2
    assert b"right" in (stage.appended()[0].value or b"")


async def test_a_replay_that_is_not_in_the_registry_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(action: CommandAction, *, entity: str, timeout_s: float = 15.0) -> CommandReply:
        raise CommandRefused("not_found", "there is no such replay")

    monkeypatch.setattr(stage, "call", refuse)
    stage.suspend()
    stage.aside(0)
    stage.reactivate()
    await stage.start()
    await stage.clock.advance(30)
    assert stage.values() == [0], "and not begun again and again"
