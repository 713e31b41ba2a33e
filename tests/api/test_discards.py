"""Discard dead deliveries, on fakes: what is appended, what the audit log records, and what is refused."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from app.core.model.delivery import DeliveryRevision
from app.core.records import ordered
from app.core.records.attempt import Attempt
from app.core.records.audit import AuditEntry
from app.core.topics.names import TopicName
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def attempts(stage: Stage) -> list[Attempt]:
    """The records of `attempts`."""
    return [msgspec.json.decode(each.value or b"", type=Attempt) for each in stage.log.of(TopicName.ATTEMPTS)]


async def test_a_dry_run_counts_and_appends_nothing(stage: Stage) -> None:
    for number in range(3):
        stage.row(stage.event(f"e{number}"))
    stage.row(stage.event("fine"), state="delivered")
    counted = await stage.ask("discards.discard_many", {"dry_run": True})
    assert (counted["matched"], counted["matched_more"], counted["discarded"]) == (3, False, 0)
    assert not attempts(stage) and not stage.log.of(TopicName.AUDIT)


async def test_only_dead_deliveries_are_discarded(stage: Stage) -> None:
    row = stage.row(stage.event("e1"), replay_id="rpl")
    for number, state in enumerate(("pending", "retrying", "delivered", "cancelled", "paused")):
        stage.row(stage.event(f"other{number}"), state=state)
    answer = await stage.ask("discards.discard_many", {"why": "test data"})
    assert (answer["discarded"], answer["next_cursor"]) == (1, None)
    (record,) = attempts(stage)
    assert (record.delivery_id, record.attempt, record.trigger) == (row.id, 2, "manual")
    assert (record.state, record.result, record.reason) == ("cancelled", "discarded", "discarded")
    assert record.error == "discarded by k: test data" and not record.made_a_request
    assert (record.revision, record.replay_id) == (stage.clock.now_ms(), "rpl")
    (stored,) = stage.log.of(TopicName.ATTEMPTS)
    assert (stored.key, stored.partition) == (b"ep", stage.services.partition_for("", b"ep"))
    assert not stage.appended() and not stage.log.of(TopicName.DELIVERIES_ORDERED)


async def test_the_audit_log_has_who_when_how_many_and_why_before_anything_is_discarded(stage: Stage) -> None:
    for number in range(3):
        stage.row(stage.event(f"e{number}"))
    stage.log.hold(TopicName.AUDIT)
    asking = asyncio.create_task(stage.ask("discards.discard_many", {"why": "the receiver is gone", "status": "5xx"}))
    await stage.log.seen(TopicName.AUDIT, 1)
    assert not attempts(stage), "nobody can act without a trace"
    stage.log.release(TopicName.AUDIT)
    await asking
    (stored,) = stage.log.of(TopicName.AUDIT)
    entry = msgspec.json.decode(stored.value or b"", type=AuditEntry)
    assert (entry.tenant, entry.mode, entry.actor, entry.action) == ("acme", "live", "k", "deliveries.discard")
    assert entry.detail == "the receiver is gone" and entry.after is not None
    assert entry.after["discarded"] == 3 and entry.after["filter"]["states"] == ["dead"]


async def test_without_a_match_there_is_no_audit_entry(stage: Stage) -> None:
    answer = await stage.ask("discards.discard_many", {"why": "x"})
    assert answer["discarded"] == 0 and not stage.log.of(TopicName.AUDIT)


async def test_a_revision_is_higher_than_any_before(stage: Stage) -> None:
    later = stage.clock.now_ms() + 5000
    row = stage.row(stage.event())
    stage.feed.directory.revisions[row.id] = DeliveryRevision(id=row.id, number=later)
    await stage.ask("discards.discard_many", {"why": "x"})
    assert attempts(stage)[0].revision == later + 1


async def test_a_dead_delivery_that_blocks_its_ordering_key_is_settled(stage: Stage) -> None:
    stage.row(stage.event(), arrival=9, ordering_key="k", sequence=4)
    stage.log.hold(TopicName.ATTEMPTS)
    asking = asyncio.create_task(stage.ask("discards.discard_many", {"why": "x"}))
    await stage.log.seen(TopicName.ATTEMPTS, 1)
    assert not stage.log.of(TopicName.DELIVERIES_ORDERED), "the next one is released after the end of this one"
    stage.log.release(TopicName.ATTEMPTS)
    await asking
    (stored,) = stage.log.of(TopicName.DELIVERIES_ORDERED)
    assert stored.key == b"ep" and stored.partition == stage.services.partition_for("", b"ep")
    assert ordered.read(stored.headers) == ("k", ordered.Settlement(9, "cancelled"))


async def test_a_discard_stops_at_its_limit_and_continues_with_the_cursor(stage: Stage) -> None:
    for number in range(250):
        stage.row(stage.event(f"e{number}"))
    first = await stage.ask("discards.discard_many", {"limit": 201, "why": "x"})
    second = await stage.ask("discards.discard_many", {"limit": 201, "why": "x", "cursor": first["next_cursor"]})
    assert (first["discarded"], second["discarded"], second["next_cursor"]) == (201, 49, None)
    assert len({each.delivery_id for each in attempts(stage)}) == 250


@pytest.mark.parametrize("body", [{"status": "x"}, {"cursor": "x"}, {"event": "\x00"}, {"since": "x"}])
async def test_a_bad_filter_discards_nothing(stage: Stage, body: dict[str, str]) -> None:
    stage.row(stage.event())
    assert await stage.refused("discards.discard_many", body | {"why": "x"}) == (422, "invalid")
    assert not attempts(stage)


async def test_a_discard_without_a_reason_is_refused(stage: Stage) -> None:
    stage.row(stage.event())
    assert await stage.refused("discards.discard_many", {}) == (422, "invalid")
    assert not attempts(stage)
