"""The projection role on fakes: it reads on from the database's offsets, waits for it, and counts nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import LogMoved, Unavailable
from app.core.model.tenant import Tenant
from app.core.offsets.log_moves import LogMove, LogMoveKind
from app.core.readmodel.batch import TOPICS as PROJECTED
from app.core.readmodel.tenant_rules import TenantRules
from app.core.records.audit import TENANT_DELETED, action, encode
from app.core.topics.names import TopicName
from app.roles.projection.role import ProjectionRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.contracts.readmodel_kit import BEGUN_MS, attempt, delivery
from tests.fakes.clock import FakeClock, settle
from tests.fakes.log import MemoryLog
from tests.fakes.projection import MemoryProjection, SeekingMemorySource
from tests.fakes.source import MemoryGroup
from tests.patience import PATIENCE_S

TOPICS = topics_of(Settings(topic_prefix="p.", partitions=2, replication_factor=1))
PLACES = [(f"p.{name}", number) for name in PROJECTED for number in range(2)]
ATTEMPTS = (TopicName.ATTEMPTS, 0)


class Stage:
    """A projection worker with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.store = MemoryProjection()
        self.group = MemoryGroup(self.log, [f"p.{name}" for name in PROJECTED], self.clock)
        self.meter = PrometheusMeter()
        self.tenants: dict[str, Tenant] = {}
        self.begin()

    def begin(self) -> None:
        """A fresh worker."""
        self.source = SeekingMemorySource(self.group)
        self.role = ProjectionRole(
            source=self.source,
            store=self.store,
            topics=TOPICS,
            clock=self.clock,
            meter=self.meter,
            rules=TenantRules(lambda: self.tenants, self.clock.now_ms),
            retention_days=1,
            max_event_bytes=1_000,
        )
        self.running = asyncio.create_task(self.role.run())

    async def start(self) -> None:
        await settle()
        await self.source.assign(*PLACES)
        await self.turn(1.2)  # it notices after its poll

    async def turn(self, seconds: float = 0.3) -> None:
        """Let it read what there is, and write it."""
        for _ in range(3):
            await settle()
            await self.clock.advance(seconds / 3)
        await settle()

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def attempted(self, *numbers: int) -> list[str]:
        made = [delivery(number) for number in numbers]
        for each in made:
            value = msgspec.json.encode(attempt(each, BEGUN_MS))
            await self.log.append("p.attempts", key=b"ep_1", value=value, partition=0)
        return [each.id for each in made]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_records_polled_together_are_written_in_one_transaction(stage: Stage) -> None:
    await stage.start()
    ids = await stage.attempted(1, 2, 3)
    await stage.turn()
    assert stage.store.written == ids and stage.store.transactions == 1
    assert stage.role.ready() is None


async def test_reading_continues_at_the_offsets_of_the_database(stage: Stage) -> None:
    ids = await stage.attempted(1, 2, 3, 4)
    stage.store.next[ATTEMPTS] = 2
    await stage.start()
    await stage.turn()
    assert stage.store.written == ids[2:]
    assert (("p.attempts", 0), 2) in stage.source.sought
    await stage.turn(3)
    assert stage.group.offset(("p.attempts", 0)) == 4, "for those who measure the lag"


async def test_an_unavailable_database_is_awaited_and_reported(stage: Stage) -> None:
    await stage.start()
    stage.store.unavailable = "the disk is full"
    ids = await stage.attempted(1, 2)
    await stage.turn()
    assert stage.store.written == [] and stage.role.ready() == "the disk is full"
    held = stage.role.report().places["p.attempts", 0]
    assert held.waits_until_s is not None and held.waits_until_s > stage.clock.monotonic()
    assert held.low == 0, "what is not written is not done"
    stage.store.unavailable = None
    await stage.turn(10)
    assert stage.store.written == ids and stage.role.ready() is None


async def test_the_role_waits_for_the_database_at_its_start(stage: Stage) -> None:
    await stage.stop()
    stage.store.unavailable = "it starts"
    stage.begin()
    await settle()
    assert stage.role.ready() == "it starts" and not stage.source.running
    stage.store.unavailable = None
    await stage.turn(6)
    assert stage.source.running
    assert stage.role.ready() == "waiting for the assignment of partitions"


async def test_a_writer_with_outdated_offsets_continues_at_those_of_the_database(stage: Stage) -> None:
    await stage.start()
    await stage.attempted(1, 2)
    await stage.turn()
    stage.store.next[ATTEMPTS] = 1  # a rebuild, or another process
    stage.store.written.clear()
    ids = await stage.attempted(3)
    await stage.turn()
    await stage.turn(3)
    assert stage.store.written == [delivery(2).id, *ids]


async def test_a_partition_that_was_revoked_is_not_written(stage: Stage) -> None:
    await stage.start()
    stage.store.unavailable = "gone"
    await stage.attempted(1)
    await stage.turn()
    revoking = asyncio.create_task(stage.source.revoke(*PLACES))
    await settle()
    async with asyncio.timeout(PATIENCE_S):
        await revoking
    await stage.source.assign(("p.deliveries", 1))
    stage.store.unavailable = None
    stage.store.next[ATTEMPTS] = 1  # its next owner has written it
    await stage.turn(10)
    assert stage.store.written == []


async def test_a_record_that_the_database_refuses_is_skipped(stage: Stage) -> None:
    await stage.start()
    stage.store.poison = delivery(2).id
    one, _, three = await stage.attempted(1, 2, 3)
    await stage.turn()
    assert stage.store.written == [one, three] and stage.store.next[ATTEMPTS] == 3
    assert b'records_unreadable_total{topic="projection"} 1.0' in stage.meter.exposition()


async def test_offsets_of_another_kafka_are_noticed(stage: Stage) -> None:
    await stage.attempted(1)
    await stage.start()
    await stage.turn()
    stage.source._positions["p.attempts", 0] = 0  # what Kafka's client does where an offset is out of range
    stage.store.next[ATTEMPTS] = stage.role._next["p.attempts", 0] = 5
    await stage.attempted(2)
    await stage.turn()
    with pytest.raises(Unavailable, match="rebuild"):
        await stage.running


async def test_transaction_markers_at_the_end_of_a_log_are_skipped(stage: Stage) -> None:
    await stage.attempted(1)
    await stage.start()
    await stage.turn()
    stage.source._positions["p.audit", 0] = 7  # Kafka's client has read markers of transactions
    await stage.turn(3)
    assert (stage.store.next[TopicName.AUDIT, 0], stage.store.next[ATTEMPTS]) == (7, 1)
    transactions = stage.store.transactions
    await stage.turn(3)
    assert stage.store.transactions == transactions, "written again while nothing moves"


async def test_old_rows_are_pruned_in_small_steps(stage: Stage) -> None:
    await stage.start()
    stage.store.pruned.clear()
    await stage.turn(61)
    await stage.turn(1)
    await stage.turn(1)
    assert len(stage.store.pruned) == 2, "again at once while there is more"
    assert abs(stage.store.pruned[0] - (stage.clock.now_ms() - 86_400_000)) < 60_000


async def test_it_leaves_in_order(stage: Stage) -> None:
    await stage.start()
    await stage.stop()
    assert not stage.source.running and stage.store.is_closed


@pytest.mark.parametrize(("kind", "resume"), [("end_lost", 1), ("made_again", 0), ("beginning_lost", 5)])
async def test_the_database_follows_a_log_that_has_moved(stage: Stage, kind: LogMoveKind, resume: int) -> None:
    await stage.start()
    await stage.attempted(1, 2, 3)
    await stage.turn()
    assert stage.store.next[ATTEMPTS] == 3
    stage.source.moved = LogMoved({("p.attempts", 0): LogMove(kind, 3, resume)})
    await stage.turn(1.2)
    with pytest.raises(LogMoved):
        await stage.running
    assert stage.store.next[ATTEMPTS] == resume


async def test_the_offsets_of_a_database_of_another_kafka_are_not_changed(stage: Stage) -> None:
    await stage.start()
    await stage.attempted(1, 2, 3)
    await stage.turn()
    stage.source.moved = LogMoved({("p.attempts", 0): LogMove("shorter", 3, 0)})
    await stage.turn(1.2)
    with pytest.raises(Unavailable, match="it is of another Kafka"):
        await stage.running
    assert stage.store.next[ATTEMPTS] == 3


async def test_rows_of_a_deleted_tenant_are_removed_at_once_and_for_some_days(stage: Stage) -> None:
    await stage.start()
    at_ms = stage.clock.now_ms()
    entry = action("acme", "", at_ms, actor="operator", action=TENANT_DELETED, entity="tenant/acme")
    await stage.log.append("p.audit", key=b"acme", value=encode(entry), partition=1)
    await stage.turn()
    await stage.turn()
    assert [tenant for tenant, _ in stage.store.removed] == ["acme", "acme"], "again at once while there is more"
    assert all(abs(until_ms - at_ms - 60_000) < 10_000 for _, until_ms in stage.store.removed)
    await stage.turn(70)
    assert len(stage.store.removed) > 2, "deliveries that wait are cancelled later"


async def test_a_new_process_removes_rows_of_tenants_that_were_deleted_before(stage: Stage) -> None:
    await stage.stop()
    stage.store.deletions = [("acme", 5)]
    stage.begin()
    await stage.start()
    await stage.turn(70)
    assert stage.store.removed and stage.store.removed[0] == ("acme", 60_005)


async def test_old_rows_of_a_tenant_with_days_of_its_own_are_neither_written_nor_kept(stage: Stage) -> None:
    stage.tenants["acme"] = Tenant(id="acme", retention_days=1)
    await stage.start()
    await stage.attempted(1)  # at the time of the fakes
    await stage.turn()
    assert len(stage.store.written) == 1
    await stage.turn(3 * 86_400)
    assert [tenant for tenant, _ in stage.store.outdated][:2] == ["acme", "acme"], "again at once while there is more"
    assert all(before_ms % 3_600_000 == 0 for _, before_ms in stage.store.outdated)
    value = msgspec.json.encode(attempt(delivery(2), BEGUN_MS))
    record = await stage.log.append("p.attempts", key=b"ep_1", value=value, partition=0)
    assert record is not None
    await stage.turn()
    assert len(stage.store.written) == 2, "a record is as old as its timestamp says"
