"""The projection store, for both databases: what is written, pruned, repeated, and refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import Unavailable
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, EventFilter
from app.core.topics.names import TopicName
from tests.contracts.readmodel_kit import ACME, BEGUN_MS, DEAD, FAILED, Journal, Stores, delivery, ids_of, mixed


async def test_a_process_that_has_lost_the_partition_writes_nothing(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    journal.attempted(delivery(1), BEGUN_MS)
    await journal.into(write)
    journal.attempted(delivery(2), BEGUN_MS + 1)
    stale = journal.portion()
    await journal.into(write)
    assert not await write.write(*stale)
    assert len(await ids_of(read, ACME)) == 2
    assert (await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53))[0].attempts == 2
    assert await write.offsets([(TopicName.ATTEMPTS, 0)]) == {(TopicName.ATTEMPTS, 0): 2}
    assert await read.updated_at_ms() == BEGUN_MS + 1


async def test_a_transaction_cancelled_anywhere_leaves_no_lock(stores: Stores) -> None:
    """Also while something holds the cancelled task: its frames hold the cursor."""
    write, _ = stores
    places = [(TopicName.ATTEMPTS, number) for number in range(64)]
    await write.offsets(places)
    cancelled = []
    for steps in range(150):
        task = asyncio.create_task(write.offsets(places))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        cancelled.append(task)
        assert len(await write.offsets(places)) == len(places)
    assert any(task.cancelled() for task in cancelled)


async def test_old_deliveries_are_pruned_with_their_attempts(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    many = [delivery(number) for number in range(30)]
    for number, each in enumerate(many):
        journal.attempted(each, BEGUN_MS + number * 1000)
    await journal.into(write)
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 15
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 5
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 0
    assert set(await ids_of(read, ACME)) == {each.id for each in many[20:]}
    assert await read.attempts("acme", "live", many[0].id) == []
    assert len(await read.attempts("acme", "live", many[25].id)) == 1


async def test_the_rows_of_a_deleted_tenant_are_removed_in_bounded_steps(stores: Stores) -> None:
    write, read = stores
    journal = mixed()
    others = [delivery(number, tenant="other") for number in range(5)]
    for each in others:
        journal.attempted(each, BEGUN_MS + 3000, **DEAD)
    journal.attempted(delivery(50, mode="test"), BEGUN_MS + 3000)
    journal.attempted(delivery(51), BEGUN_MS + 3000, **{**DEAD, "state": "cancelled", "status": None, "url": ""})
    late = delivery(5_000_000)
    journal.attempted(late, late.accepted_at_ms)
    for number in range(5):
        journal.event(BEGUN_MS + number, id=f"e{number}")
        journal.event(BEGUN_MS + number, id=f"e{number}", tenant="other", partition=1)
        journal.noticed(BEGUN_MS + number, id=f"n{number}", tenant="acme", kind="k", at=iso(BEGUN_MS), summary="s")
    journal.audited(BEGUN_MS + 4000, action="tenant.delete", mode="", entity="tenant/acme")
    await journal.into(write)
    assert list(await write.deleted_tenants()) == [("acme", BEGUN_MS + 4000)]

    removed: list[int] = []
    while not removed or removed[-1] == 7:
        removed.append(await write.remove_tenant("acme", BEGUN_MS + 4000, limit=7))
    assert max(removed) == 7 and sum(removed) > 50
    assert await ids_of(read, ACME) == [late.id], "what was accepted later is not of the deleted tenant"
    assert await ids_of(read, DeliveryFilter(tenant="acme", mode="test")) == []
    assert await read.attempts("acme", "live", delivery(0).id) == []
    assert len(await read.attempts("acme", "live", late.id)) == 1
    assert await read.notices("acme", "live", endpoint_id=None, limit=10) == []
    assert (await read.events(EventFilter(tenant="acme", mode="live"), limit=10)).rows == []
    hours = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    assert [each.attempts for each in hours] == [1]
    assert len(await read.audit("acme", "live", limit=10)) == 1

    assert len(await ids_of(read, DeliveryFilter(tenant="other", mode="live"))) == 5
    assert len(await read.attempts("other", "live", others[0].id)) == 1
    assert len((await read.events(EventFilter(tenant="other", mode="live"), limit=10)).rows) == 5
    assert await write.remove_tenant("acme", BEGUN_MS + 4000, limit=7) == 0


async def test_a_rebuild_gives_the_same_rows(stores: Stores) -> None:
    write, read = stores
    journal = mixed()
    await journal.into(write)
    before = (await read.deliveries(ACME, limit=100)).rows
    await write.clear()
    assert (await read.deliveries(ACME, limit=100)).rows == [] and await read.updated_at_ms() is None
    journal.forget()
    await journal.into(write)
    assert (await read.deliveries(ACME, limit=100)).rows == before


async def test_values_that_no_database_accepts_are_skipped(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for value in (b"", b"{", b"[" * 5000, b'{"delivery_id":"x"}'):
        journal.append(TopicName.ATTEMPTS, at_ms=BEGUN_MS, value=value)
    journal.attempted(delivery(1, tenant="a\x01b"), BEGUN_MS)
    journal.attempted(delivery(2, event_type="x" * 3000), BEGUN_MS)
    journal.attempted(delivery(3), BEGUN_MS, 10**25)
    journal.attempted(delivery(4), BEGUN_MS, **{**FAILED, "next_attempt_at": "never"})
    journal.append(TopicName.DELIVERIES, at_ms=BEGUN_MS, value=b"", headers=[("delivery-id", b"\xff")])
    fine = delivery(5, ordering_key="k\x00", sequence=1)
    journal.attempted(
        fine, -5, error="e\x00" * 9000, status=None, **{k: v for k, v in DEAD.items() if k not in ("error", "status")}
    )
    assert (await journal.into(write)).unreadable == 9
    row = await read.delivery("acme", "live", fine.id)
    assert row is not None and row.ordering_key == "k\ufffd" and row.error is not None and "\x00" not in row.error


async def test_a_missing_database_is_reported(tmp_path: Path) -> None:
    read = SqlReadStore(Database(None, tmp_path / "nowhere"))
    with pytest.raises(Unavailable, match="does not exist yet"):
        await read.deliveries(ACME, limit=1)
    far = Database("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    for work in (SqlProjectionStore(far).prepare(), SqlReadStore(far).updated_at_ms()):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/none"):
            await work
    await read.close()
    await far.close()


async def test_a_full_disk_and_a_lock_are_reported_and_nothing_is_written_in_part(tmp_path: Path) -> None:
    database = Database(None, tmp_path)
    write, read = SqlProjectionStore(database), SqlReadStore(database)
    await write.prepare()
    limits = {"max_page_count": 100, "busy_timeout": 1}

    @event.listens_for(database.engine.sync_engine, "checkout")
    def on_checkout(raw: Any, *rest: Any) -> None:
        for name, value in limits.items():
            raw.cursor().execute(f"PRAGMA {name}={value}")

    journal = Journal()
    for number in range(2000):
        journal.attempted(delivery(number), BEGUN_MS)
    portion, moved = journal.portion()
    await write.offsets(moved)
    with pytest.raises(Unavailable, match="full"):
        await write.write(portion, moved)
    assert (await read.deliveries(ACME, limit=1)).rows == []
    limits["max_page_count"] = 1_000_000
    async with database.writing():
        with pytest.raises(Unavailable, match="locked"):
            await write.write(*journal.portion())
    assert await write.write(*journal.portion())
    assert await read.count(ACME, at_most=9999) == 2000
    await write.close()
