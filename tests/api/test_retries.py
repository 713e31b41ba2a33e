"""Retry and cancel on request, on fakes: what is appended, what the registry is told, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from app.api.handlers import event_payloads
from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.records import delivery
from app.core.records.audit import AuditEntry
from app.core.records.command import SupersedeDeliveries
from app.core.topics.names import TopicName
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_a_dead_delivery_is_appended_again_with_its_id_and_the_next_number(stage: Stage) -> None:
    row = stage.row(stage.event(metadata={"a": 1}), sequence=4, ordering_key="k", arrival=9, replay_id="rpl")
    said = await stage.ask("retries.retry", of=row.id)
    assert said == {"id": row.id, "asked": "retry", "was": "dead", "attempt": 3}
    (copy,) = stage.appended()
    assert (copy.id, copy.attempts, copy.manual, copy.due_at_ms) == (row.id, 2, "retry", 0)
    assert (copy.sequence, copy.ordering_key, copy.arrival, copy.replay_id) == (4, "k", 9, "rpl")
    assert b'"metadata"' in copy.body and copy.revision == stage.clock.now_ms()
    (record,) = stage.log.of(TopicName.DELIVERIES)
    assert record.partition == stage.services.partition_for("", b"ep") and record.header("registry-position")
    assert not stage.commands, "nothing waits anywhere that would have to be passed over"


@pytest.mark.parametrize("state", ["delivered", "cancelled"])
async def test_a_delivered_or_cancelled_one_can_be_sent_again(stage: Stage, state: Any) -> None:
    row = stage.row(stage.event(), state=state)
    await stage.ask("retries.retry", of=row.id)
    assert [each.id for each in stage.appended()] == [row.id] and not stage.commands


async def test_a_waiting_delivery_is_appended_before_its_waiting_copy_is_superseded(stage: Stage) -> None:
    row = stage.row(stage.event(), state="retrying")
    stage.log.hold(TopicName.DELIVERIES)
    asking = asyncio.create_task(stage.ask("retries.retry", of=row.id))
    await stage.log.seen(TopicName.DELIVERIES, 1)
    assert not stage.commands, "a crash here must not lose it"
    stage.log.release(TopicName.DELIVERIES)
    await asking
    (copy,) = stage.appended()
    assert stage.commands == [
        SupersedeDeliveries([DeliveryRevision(id=row.id, number=copy.revision, source=copy.source)])
    ]
    assert stage.feed.directory.revisions[row.id].number == copy.revision
    await stage.ask("retries.retry", of=row.id)
    assert stage.appended()[1].revision > copy.revision, "though no time has passed"


async def test_a_dead_letter_is_read_at_its_offset(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    row = stage.row(stage.event(), attempts=5)
    stage.records.begins[TopicName.EVENTS_RAW, 0] = 1
    number = stage.services.partition_for("", b"ep")
    for _ in range(50):
        stage.log.put(TopicName.DELIVERIES_DEAD, value=b"", partition=number)
    made = Delivery(
        id=row.id,
        tenant="acme",
        mode="live",
        endpoint_id="ep",
        event_id="e1",
        event_type="a.b",
        body=b"{}",
        created_at="2026-01-01T00:00:00Z",
        attempts=5,
    )
    there = stage.log.put(
        TopicName.DELIVERIES_DEAD,
        value=b"{}",
        key=b"ep",
        partition=number,
        headers=[*delivery.encode(made), ("reason", b"exhausted")],
    )
    monkeypatch.setattr(event_payloads, "_DEAD_SEARCHED", 20)
    monkeypatch.setattr(event_payloads, "_POLLED", 5)
    assert (await stage.refused("retries.retry", of=row.id))[1] == "event_gone", "looked for among the first ones only"
    stage.put(msgspec.structs.replace(row, dead_offset=there.offset))
    await stage.ask("retries.retry", of=row.id)
    assert [each.id for each in stage.appended()] == [row.id]


async def test_a_dead_delivery_outlives_its_event(stage: Stage) -> None:
    row = stage.row(stage.event(), attempts=5)
    stage.records.begins[TopicName.EVENTS_RAW, 0] = 1
    stage.aside(stage.row(None, id="dlv_other", event_id="e9"))
    stage.aside(row, arrival=4, attempts=5)
    await stage.ask("retries.retry", of=row.id)
    (copy,) = stage.appended()
    assert (copy.id, copy.body, copy.attempts, copy.arrival, copy.manual) == (row.id, b'{"kept":1}', 5, 4, "retry")


@pytest.mark.parametrize(
    ("endpoint", "fields", "code"),
    [
        ({"status": "disabled"}, {}, "endpoint_disabled"),
        ({"status": "paused"}, {}, "endpoint_paused"),
        ({}, {"state": "paused"}, "paused"),
        ({"ordering": "fifo"}, {"state": "pending", "ordering_key": "k"}, "in_line"),
    ],
)
async def test_a_refused_retry_has_a_reason(
    stage: Stage, endpoint: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    stage.endpoint(**endpoint)
    row = stage.row(stage.event(), **fields)
    assert await stage.refused("retries.retry", of=row.id) == (409, code)
    assert not stage.appended() and not stage.commands


async def test_a_removed_endpoint_gets_no_retry(stage: Stage) -> None:
    row = stage.row(stage.event())
    stage.feed.directory.remove_endpoint("ep")
    assert await stage.refused("retries.retry", of=row.id) == (409, "endpoint_removed")


# --- many -------------------------------------------------------------------------------------------------------------


async def test_a_dry_run_counts_and_appends_nothing(stage: Stage) -> None:
    for number in range(3):
        stage.row(stage.event(f"e{number}"))
    stage.row(stage.event("fine"), state="delivered")
    said = await stage.ask("retries.retry_many", {"dry_run": True})
    assert (said["matched"], said["matched_more"], said["retried"]) == (3, False, 0)
    assert (await stage.ask("retries.retry_many", {"dry_run": True, "state": ["delivered"]}))["matched"] == 1
    assert not stage.appended()


async def test_a_bulk_retry_stops_at_its_limit_and_continues_with_the_cursor(stage: Stage) -> None:
    for number in range(250):
        stage.row(stage.event(f"e{number}", partition=number % 2))
    first = await stage.ask("retries.retry_many", {"limit": 201})
    assert (first["retried"], first["skipped"], len(stage.appended())) == (201, {}, 201)
    second = await stage.ask("retries.retry_many", {"limit": 201, "cursor": first["next_cursor"]})
    assert (second["retried"], second["next_cursor"]) == (49, None)
    assert len({each.id for each in stage.appended()}) == 250


async def test_skipped_deliveries_of_a_bulk_retry_are_counted_by_reason(stage: Stage) -> None:
    stage.endpoint("off", status="disabled")
    stage.row(stage.event("e1"))
    stage.row(stage.event("e2"), endpoint="off")
    stage.row(None, event_id="e3", id="dlv_3")
    waiting = stage.row(stage.event("e4"), state="retrying")
    stage.row(stage.event("e5"), state="pending")
    said = await stage.ask("retries.retry_many", {"state": ["dead", "retrying"]})
    assert (said["retried"], said["skipped"]) == (2, {"endpoint_disabled": 1, "event_gone": 1})
    assert [one.id for each in stage.commands if isinstance(each, SupersedeDeliveries) for one in each.revisions] == [
        waiting.id
    ]


async def test_pending_deliveries_can_be_retried_in_bulk(stage: Stage) -> None:
    """Behind an endpoint whose circuit was open, that is all there is."""
    rows = [stage.row(stage.event(f"e{number}"), state="pending") for number in range(3)]
    said = await stage.ask("retries.retry_many", {"state": ["pending", "retrying"]})
    assert said["retried"] == 3
    taken = {one.id for each in stage.commands if isinstance(each, SupersedeDeliveries) for one in each.revisions}
    assert taken == {row.id for row in rows}, "the copies that wait in the ladder count no more"


@pytest.mark.parametrize("body", [{"status": "x"}, {"type": "."}, {"since": "x"}, {"cursor": "x"}, {"event": "\x00"}])
async def test_an_empty_filter_retries_nothing(stage: Stage, body: dict[str, str]) -> None:
    stage.row(stage.event())
    assert await stage.refused("retries.retry_many", body) == (422, "invalid")
    assert not stage.appended()


# --- cancel -----------------------------------------------------------------------------------------------------------


async def test_a_waiting_delivery_is_ended_by_a_copy_without_a_body(stage: Stage) -> None:
    row = stage.row(None, state="retrying", sequence=2, ordering_key="k", arrival=7)
    assert await stage.ask("retries.cancel", of=row.id) == {
        "id": row.id,
        "asked": "cancel",
        "was": "retrying",
        "attempt": None,
    }
    (copy,) = stage.appended()
    assert (copy.id, copy.body, copy.manual, copy.arrival, copy.ordering_key) == (row.id, b"", "cancel", 7, "k")
    assert stage.commands == [
        SupersedeDeliveries([DeliveryRevision(id=row.id, number=copy.revision, source=copy.source)])
    ]


async def test_cancelling_a_delivery_in_its_key_queue_marks_it_until_its_release(stage: Stage) -> None:
    stage.endpoint(ordering="fifo")
    row = stage.row(None, state="pending", attempts=0, ordering_key="k", arrival=None)
    await stage.ask("retries.cancel", of=row.id)
    assert not stage.appended()
    assert stage.feed.directory.revisions[row.id].cancel


@pytest.mark.parametrize(("state", "code"), [("delivered", "ended"), ("dead", "ended"), ("paused", "paused")])
async def test_only_waiting_deliveries_can_be_cancelled(stage: Stage, state: Any, code: str) -> None:
    row = stage.row(stage.event(), state=state)
    assert await stage.refused("retries.cancel", of=row.id) == (409, code)
    assert not stage.appended() and not stage.commands


# --- audit ------------------------------------------------------------------------------------------------------------


def audited(stage: Stage) -> list[AuditEntry]:
    """The entries of the audit log, the latest last."""
    return [msgspec.json.decode(each.value or b"", type=AuditEntry) for each in stage.log.of(TopicName.AUDIT)]


@pytest.mark.parametrize(("name", "state"), [("retry", "dead"), ("cancel", "retrying")])
async def test_a_retry_and_a_cancellation_are_in_the_audit_log_before_they_are_carried_out(
    stage: Stage, name: str, state: Any
) -> None:
    row = stage.row(stage.event(), state=state)
    stage.log.hold(TopicName.AUDIT)
    asking = asyncio.create_task(stage.ask(f"retries.{name}", of=row.id))
    await stage.log.seen(TopicName.AUDIT, 1)
    assert not stage.appended() and not stage.commands, "nobody can act without a trace"
    stage.log.release(TopicName.AUDIT)
    await asking
    (entry,) = audited(stage)
    assert (entry.tenant, entry.mode, entry.actor) == ("acme", "live", "k")
    assert (entry.action, entry.entity) == (f"delivery.{name}", f"delivery/{row.id}")
    assert entry.before == {"state": state}


async def test_many_retries_are_one_entry_with_the_filter(stage: Stage) -> None:
    for number in range(3):
        stage.row(stage.event(f"e{number}"))
    await stage.ask("retries.retry_many", {"dry_run": True})
    assert not audited(stage), "a count changes nothing"
    await stage.ask("retries.retry_many", {"state": ["dead"]})
    (entry,) = audited(stage)
    assert entry.action == "deliveries.retry" and "dead" in str(entry.after)


async def test_a_refused_action_leaves_no_audit_entry(stage: Stage) -> None:
    row = stage.row(stage.event(), state="delivered")
    assert await stage.refused("retries.cancel", of=row.id) == (409, "ended")
    assert not audited(stage)
