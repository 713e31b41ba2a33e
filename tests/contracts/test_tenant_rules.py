"""Days and hidden fields of tenants, on both databases: what is stored, removed, and shown meanwhile."""

from __future__ import annotations

from app.adapters.sql.database import Database
from app.adapters.sql.read_store import SqlReadStore
from app.adapters.sql.tenant_read_store import TenantReadStore
from app.core.model.tenant import Tenant
from app.core.model.timestamps import iso
from app.core.readmodel.rows import DeliveryFilter, EventFilter
from app.core.readmodel.tenant_rules import TenantRules, restrict
from tests.contracts.readmodel_kit import ACME, BEGUN_MS, FAILED, Journal, Stores, delivery, ids_of

DAY_MS = 86_400_000
NOW_MS = BEGUN_MS + 10 * DAY_MS
OTHER = DeliveryFilter(tenant="other", mode="live")
EVENTS = EventFilter(tenant="acme", mode="live")


def rules(**fields: object) -> TenantRules:
    tenant = Tenant(id="acme", **fields)  # type: ignore[arg-type]
    return TenantRules(lambda: {"acme": tenant, "other": Tenant(id="other")}, lambda: NOW_MS)


def old_and_new() -> Journal:
    """Rows of ten days and of one hour ago, of two tenants, and a delivery that was tried at both times."""
    journal = Journal()
    for tenant in ("acme", "other"):
        for number, at_ms in enumerate((BEGUN_MS, NOW_MS - 3_600_000)):
            made = delivery(number, tenant=tenant, accepted_at_ms=at_ms)
            journal.handed(made, at_ms)
            journal.attempted(made, at_ms, response_body="card 4242", response_headers={"x-card": "4242"})
            partition = 0 if tenant == "acme" else 1
            record = journal.event(at_ms, id=f"evt_{number}", tenant=tenant, partition=partition)
            journal.rejected(record, detail="4242 is no card")
            fields = {"kind": "k", "at": iso(at_ms), "summary": "s"}
            journal.noticed(at_ms, id=f"n_{number}", tenant=tenant, **fields)
    waiting = delivery(7)
    journal.attempted(waiting, BEGUN_MS, **FAILED)
    journal.attempted(waiting, NOW_MS - 1000, 2)
    return journal


async def test_old_rows_of_one_tenant_are_removed_in_bounded_steps(stores: Stores) -> None:
    write, read = stores
    await old_and_new().into(write)
    ((tenant, before_ms),) = rules(retention_days=3).limited()
    assert tenant == "acme" and before_ms == NOW_MS - 3 * DAY_MS, "a whole hour"

    removed: list[int] = []
    while not removed or removed[-1] >= 2:
        removed.append(await write.remove_old(tenant, before_ms, limit=2))
    assert max(removed) <= 2 and sum(removed) > 4
    waiting = delivery(7).id
    kept = delivery(1, accepted_at_ms=NOW_MS - 3_600_000).id
    assert set(await ids_of(read, ACME)) == {kept, waiting}, "a delivery is as old as its last change"
    assert [row.number for row in await read.attempts("acme", "live", waiting)] == [2]
    assert [row.event_id for row in (await read.events(EVENTS, limit=9)).rows] == ["evt_1"]
    assert [row.id for row in await read.notices("acme", "live", endpoint_id=None, limit=9)] == ["n_1"]
    hours = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    assert sum(hour.attempts for hour in hours) == 2 and all(hour.begins_ms >= before_ms for hour in hours)

    assert len(await ids_of(read, OTHER)) == 2
    assert len((await read.events(EventFilter(tenant="other", mode="live"), limit=9)).rows) == 2
    assert await write.remove_old(tenant, before_ms, limit=2) == 0


async def test_a_rebuild_does_not_bring_old_rows_back(stores: Stores) -> None:
    write, read = stores
    journal, own = old_and_new(), rules(retention_days=3)
    portion, moved = journal.portion()
    restrict(portion, own)
    await write.offsets(moved)
    assert await write.write(portion, moved)
    kept = set(await ids_of(read, ACME))
    assert kept == {delivery(1, accepted_at_ms=NOW_MS - 3_600_000).id, delivery(7).id}
    hours = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    ((tenant, before_ms),) = own.limited()
    assert await write.remove_old(tenant, before_ms, limit=100) == 0, "nothing of it was written"
    assert await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53) == hours
    assert [row.event_id for row in (await read.events(EVENTS, limit=9)).rows] == ["evt_1"]
    assert len(await ids_of(read, OTHER)) == 2


async def test_rows_that_are_not_removed_yet_are_not_shown(stores: Stores, database: Database) -> None:
    write, plain = stores
    await old_and_new().into(write)
    assert len(await ids_of(plain, ACME)) == 3
    read = TenantReadStore(database, rules(retention_days=3))
    old, kept, waiting = delivery(0, accepted_at_ms=BEGUN_MS).id, delivery(1, accepted_at_ms=1).id, delivery(7).id
    assert set(await ids_of(read, ACME)) == {kept, waiting}
    assert await read.count(ACME, at_most=9) == 2
    assert await read.delivery("acme", "live", old) is None and await read.delivery_of_any_tenant(old) is None
    assert await read.delivery("acme", "live", kept) is not None
    assert [row.number for row in await read.attempts("acme", "live", waiting)] == [2]
    assert [row.event_id for row in (await read.events(EVENTS, limit=9)).rows] == ["evt_1"]
    assert await read.count_events(EVENTS, at_most=9) == 1
    everyone = [(row.tenant, row.event_id) for row in (await read.events(EventFilter(), limit=9)).rows]
    assert sorted(everyone) == [("acme", "evt_1"), ("other", "evt_0"), ("other", "evt_1")]
    assert [row.id for row in await read.notices("acme", "live", endpoint_id=None, limit=9)] == ["n_1"]
    hours = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    assert sum(hour.attempts for hour in hours) == 2
    assert len(await ids_of(read, OTHER)) == 2


async def test_what_may_quote_hidden_fields_is_neither_stored_nor_shown(stores: Stores, database: Database) -> None:
    write, plain = stores
    hiding = rules(redact=("card",))
    journal = old_and_new()
    await journal.into(write)
    kept, theirs = delivery(1).id, delivery(1, tenant="other").id
    shown = TenantReadStore(database, hiding)
    assert "4242" in str(await plain.attempts("acme", "live", kept)), "stored before the tenant hid fields"
    assert "4242" not in str(await shown.attempts("acme", "live", kept))
    assert "4242" in str(await shown.attempts("other", "live", theirs))
    assert all(row.detail is None and row.reason for row in (await shown.events(EVENTS, limit=9)).rows)

    await write.clear()
    journal.forget()
    portion, moved = journal.portion()
    restrict(portion, hiding)
    await write.offsets(moved)
    assert await write.write(portion, moved)
    everything: SqlReadStore = plain
    assert len(await ids_of(everything, ACME)) == 3
    attempts = await everything.attempts("acme", "live", kept)
    assert len(attempts) == 1 and "4242" not in str(attempts)
    assert "4242" not in str((await everything.events(EVENTS, limit=9)).rows)
    assert "4242" in str(await everything.attempts("other", "live", theirs))
