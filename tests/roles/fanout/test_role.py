"""The fan-out role on fakes: a batch is acknowledged after all that it causes, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import RecordTooLarge
from app.core.model.endpoint import Endpoint
from app.core.model.event_types import EventType
from app.roles import ack_pipeline as shared_batches
from app.roles.fanout import reset_detection
from app.roles.fanout.reset_detection import position_key
from app.roles.fanout.role import FanoutRole, TracedFanoutRole
from app.roles.fanout.rules import FanoutRules
from app.roles.fanout.sequences import coverage_key
from tests.fakes.clock import FakeClock, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.stream import MemoryBatch, MemoryPartition, MemoryStreamApp
from tests.fakes.tracer import MemoryTracer

RULES = FanoutRules(topic="events.raw", ttl_ms=60_000, max_event_bytes=2000)
SIGHTS, SEQUENCES, POSITIONS = "idempotency-changelog", "ordering-changelog", "positions-changelog"


def endpoint(id_: str, **fields: Any) -> Endpoint:
    made = Endpoint(id=id_, tenant="default", mode="live", url="https://x.example/", events=("*",), profile="standard")
    return msgspec.structs.replace(made, **fields)


def event(offset: int, **fields: Any) -> MemoryRecord:
    body = msgspec.json.encode({"type": "a.b", "id": f"e{offset}", "data": offset} | fields)
    return MemoryRecord("events.raw", 0, offset, 1_700_000_000_000, b"k", body, [])


class NoSchemas:
    """Nobody has given a type a schema."""

    spent = 0

    def violation(self, event_type: EventType, data: bytes) -> None:
        return None


class Stage:
    """A fan-out worker with everything around it in memory."""

    def __init__(self, rules: FanoutRules = RULES, tracer: MemoryTracer | None = None) -> None:
        self.log = MemoryLog(FakeClock())
        self.feed = MemoryFeed(endpoint("a"), endpoint("b"))
        self.feed.position = 12
        self.app = MemoryStreamApp()
        self.meter = PrometheusMeter()
        self.partition = MemoryPartition()
        make = FanoutRole if tracer is None else partial(TracedFanoutRole, tracer)
        self.role = make(
            app=lambda: self.app,
            producer=self.log,
            feed=self.feed,
            meter=self.meter,
            clock=FakeClock(),
            rules=rules,
            group="g",
            schemas=NoSchemas(),
        )
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.running = asyncio.create_task(self.role.run())

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)

    def give(self, *records: MemoryRecord) -> MemoryBatch:
        return self.app.give(self.partition, *records)

    def deliveries(self) -> list[tuple[str, bytes | None]]:
        """(event id, endpoint)"""
        return [(record.header("event-id") or "", record.key) for record in self.log.of("deliveries")]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_a_batch_becomes_deliveries_table_records_and_an_acknowledgement(stage: Stage) -> None:
    assert stage.role.ready() == "starting"
    stage.start()
    batch = stage.give(event(0), event(1, ordering_key="o"))
    await stage.app.acked(batch)
    assert stage.role.ready() is None
    assert stage.deliveries() == [("e0", b"a"), ("e0", b"b"), ("e1", b"a"), ("e1", b"b")]
    first = stage.log.of("deliveries")[0]
    assert (first.value, first.header("registry-position"), first.header("replay-id")) == (event(0).value, "12", None)
    assert stage.log.of("deliveries")[2].header("sequence") == "1"
    assert [len(stage.log.of(topic)) for topic in (SIGHTS, SEQUENCES, POSITIONS)] == [2, 2, 1]
    assert {record.partition for record in stage.log.of(SIGHTS) + stage.log.of(POSITIONS)} == {0}
    for table, topic in (("idempotency", SIGHTS), ("ordering", SEQUENCES), ("positions", POSITIONS)):
        assert stage.partition.tables[table] == {record.key: record.value for record in stage.log.of(topic)}


@pytest.mark.parametrize("last", ["deliveries", "events.rejected", "events.duplicates", SIGHTS, SEQUENCES, POSITIONS])
async def test_a_batch_is_acknowledged_after_the_last_of_its_outputs(stage: Stage, last: str) -> None:
    stage.log.hold(last)
    stage.start()
    broken = MemoryRecord("events.raw", 0, 1, 0, None, b"no event", [])
    batch = stage.give(event(0, ordering_key="o"), broken, event(2, id="e0"))
    await stage.log.seen("events.rejected", 1)
    await settle()
    assert not batch.acked
    stage.log.release(last)
    await stage.app.acked(batch)


@pytest.mark.parametrize("topic", ["deliveries", SIGHTS, POSITIONS])
async def test_a_batch_with_an_unwritable_output_fails_and_is_not_acknowledged(stage: Stage, topic: str) -> None:
    stage.log.fail(topic, RecordTooLarge(f"a record for {topic}"))
    stage.start()
    batch = stage.give(event(0))
    assert stage.running is not None
    with pytest.raises(RecordTooLarge, match=topic):
        await stage.running
    assert batch.failure is not None and not batch.acked


async def test_an_event_sees_registry_changes_confirmed_before_it(stage: Stage) -> None:
    stage.feed.blocked = True
    stage.start()
    batch = stage.give(event(0))
    await stage.feed.waited_for()
    assert stage.deliveries() == []
    stage.feed.directory.put_endpoint(endpoint("c"))
    stage.feed.directory.put_endpoint(endpoint("a", status="paused"))
    stage.feed.position = 15
    stage.feed.open()
    await stage.app.acked(batch)
    assert stage.deliveries() == [("e0", b"b"), ("e0", b"c")]
    assert stage.log.of("deliveries")[0].header("registry-position") == "15"
    assert stage.feed.caught_up_to == [batch.polled_at]


async def test_a_reset_is_a_replay_with_its_own_id_up_to_the_former_position(stage: Stage) -> None:
    stored = reset_detection.write(reset_detection.ReadPosition(high=2))
    stage.partition = MemoryPartition(start=0, was_reset=True)
    stage.partition.tables["positions"][position_key(0)] = stored
    stage.start()
    await stage.app.acked(stage.give(event(0)))
    await stage.app.acked(stage.give(event(1), event(2)))
    replays = [record.header("replay-id") for record in stage.log.of("deliveries")]
    assert replays[0] is not None and replays[0].startswith("rpl_")
    assert replays == [replays[0]] * 4 + [None] * 2
    assert len({record.header("delivery-id") for record in stage.log.of("deliveries")}) == 6
    remembered = reset_detection.read(stage.partition.tables["positions"][position_key(0)])
    assert remembered == reset_detection.ReadPosition(high=3, replay_id=replays[0], replay_until=2)


async def test_a_partition_reassigned_to_the_same_worker_after_a_reset_is_a_replay(stage: Stage) -> None:
    stage.start()
    await stage.app.acked(stage.give(event(0)))
    again = MemoryPartition(start=0, was_reset=True)
    again.tables = stage.partition.tables
    stage.partition = again
    await stage.app.acked(stage.give(event(0), event(1)))
    replays = [record.header("replay-id") is not None for record in stage.log.of("deliveries")]
    assert replays == [False, False, True, True, False, False]


async def test_a_replay_continues_with_the_same_id_after_a_crash(stage: Stage) -> None:
    stage.start()
    stage.partition = MemoryPartition(start=0, was_reset=True)
    stage.partition.tables["positions"][position_key(0)] = reset_detection.write(reset_detection.ReadPosition(high=2))
    await stage.app.acked(stage.give(event(0)))
    after = MemoryPartition(start=1)
    after.tables = stage.partition.tables
    stage.partition = after
    await stage.app.acked(stage.give(event(1)))
    assert len({record.header("replay-id") for record in stage.log.of("deliveries")}) == 1


async def test_redelivery_after_a_crash_is_the_same_delivery_with_the_same_sequence(stage: Stage) -> None:
    stage.start()
    await stage.app.acked(stage.give(event(0, ordering_key="o"), event(1, ordering_key="o")))
    again = MemoryPartition(start=0)
    again.tables = stage.partition.tables
    stage.partition = again
    await stage.app.acked(stage.give(event(0, ordering_key="o"), event(1, ordering_key="o")))
    records = stage.log.of("deliveries")
    assert [record.headers for record in records[4:]] == [record.headers for record in records[:4]]
    assert [record.header("sequence") for record in records[::2]] == ["1", "2", "1", "2"]


async def test_a_duplicate_is_dropped_also_in_a_later_batch(stage: Stage) -> None:
    stage.start()
    await stage.app.acked(stage.give(event(0, idempotency_key="i"), event(1, idempotency_key="i")))
    await stage.app.acked(stage.give(event(2, idempotency_key="i")))
    assert {event_id for event_id, _ in stage.deliveries()} == {"e0"}
    assert 'events_ingested_total{result="duplicate"} 2.0' in stage.meter.exposition().decode()
    told = stage.log.of("events.duplicates")
    assert [(each.key, each.value, each.partition) for each in told] == [(b"k", b"", 0)] * 2
    names = ("idempotency-key", "event-id", "duplicate-offset", "first-offset", "tenant", "mode")
    assert [each.header(name) for name in names for each in told[1:]] == ["i", "e2", "2", "0", "default", "live"]


async def test_a_sequence_is_counted_at_once_and_written_after_its_accepted_record(stage: Stage) -> None:
    stage.log.hold(SIGHTS)
    stage.start()
    batches = [stage.give(event(offset, ordering_key="o")) for offset in range(3)]
    await stage.log.seen("deliveries", 6)
    await settle()
    assert [record.header("sequence") for record in stage.log.of("deliveries")[::2]] == ["1", "2", "3"]
    assert not stage.log.of(SEQUENCES) and not stage.partition.tables["ordering"]
    stage.log.release(SIGHTS)
    await stage.app.acked(batches[2])
    begun, *counted = stage.log.of(SEQUENCES)
    assert begun.key == coverage_key(0)
    assert [int.from_bytes(record.value or b"", "big") for record in counted] == [1, 2, 3]
    assert [*stage.partition.tables["ordering"].values()] == [begun.value, (3).to_bytes(8, "big")]


async def test_after_a_failed_batch_no_later_sequence_is_written(stage: Stage) -> None:
    stage.log.hold("deliveries")
    stage.log.fail(SIGHTS, RecordTooLarge("too large"))
    stage.start()
    stage.give(event(0, ordering_key="o"))
    later = stage.give(event(1, ordering_key="o"))
    with pytest.raises(RecordTooLarge):
        await stage.app.acked(later)
    stage.log.release("deliveries")
    await settle()
    assert not stage.log.of(SEQUENCES)


async def test_no_late_sequences_are_written_after_a_reassignment(stage: Stage) -> None:
    stage.log.hold(SIGHTS)
    stage.start()
    batch = stage.give(event(0, ordering_key="o"))
    await stage.log.seen(SIGHTS, 1)
    stage.partition.current = False
    stage.log.release(SIGHTS)
    await settle()
    assert not stage.log.of(SEQUENCES) and not batch.acked


async def test_a_malformed_event_is_rejected_with_the_reason(stage: Stage) -> None:
    stage.start()
    batch = stage.give(MemoryRecord("events.raw", 0, 0, 7, b"k", b"{", [("own", b"1")]), event(1))
    await stage.app.acked(batch)
    (rejected,) = stage.log.of("events.rejected")
    assert (rejected.key, rejected.value, rejected.header("own")) == (b"k", b"{", "1")
    assert (rejected.header("rejected-reason"), rejected.header("rejected-offset")) == ("not_json", "0")
    assert len(stage.deliveries()) == 2


async def test_batches_are_planned_ahead_of_acknowledgements_but_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_batches, "_MAX_RECORDS", 16)  # two deliveries, a sight and a position for each batch
    stage = Stage()
    stage.log.hold("deliveries")
    stage.start()
    try:
        batches = [stage.give(event(offset)) for offset in range(6)]
        await stage.log.seen("deliveries", 8)
        await settle()
        assert len(stage.deliveries()) == 8, "four are under way"
        assert not any(batch.acked for batch in batches)
        stage.log.release("deliveries")
        await stage.app.acked(batches[5])
        assert all(batch.acked for batch in batches)
        assert [event_id for event_id, _ in stage.deliveries()][::2] == [f"e{offset}" for offset in range(6)]
    finally:
        await stage.stop()


async def test_no_batch_is_planned_while_the_log_has_no_room(stage: Stage) -> None:
    stage.log.crowd(True)
    stage.start()
    batch = stage.give(event(0))
    await settle()
    assert stage.deliveries() == []
    stage.log.crowd(False)
    await stage.app.acked(batch)
