"""The tables are what the migrations make, and no question to them looks through one from end to end."""

from __future__ import annotations

import asyncio
import re
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from app.adapters.sql import migrate, tables
from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import ConfigError, Unavailable
from app.core.readmodel.rows import DeliveryFilter
from tests.contracts.query_plans import SCAN, SORT, plans_of, statements
from tests.contracts.readmodel_kit import BEGUN_MS, DEAD, FAILED, Journal, delivery
from tests.postgres import Postgres

ACME = DeliveryFilter(tenant="acme", mode="live")
#: a filter, and the index that answers it
FILTERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "by_time"),
    ({"since_ms": BEGUN_MS, "until_ms": BEGUN_MS + 1000}, "by_time"),
    ({"event_type": "a.*"}, "by_time"),
    ({"result": "ok"}, "by_time"),
    ({"endpoint_id": "ep_1"}, "by_endpoint"),
    ({"endpoint_id": "ep_1", "event_type": "a.*", "status": (200, 200)}, "by_endpoint"),
    ({"states": ("dead",)}, "by_state"),
    ({"states": ("pending", "retrying"), "endpoint_id": "ep_1"}, "by_endpoint_state"),
    ({"event_type": "a.1"}, "by_type"),
    ({"event_id": "evt_1"}, "by_event"),
    ({"any_id": "evt_1"}, "by_event"),
    ({"result": "timeout"}, "by_failure"),
    ({"status": (500, 599)}, "by_failure"),
    ({"status": (404, 404)}, "by_failure"),
    ({"replay_id": "rpl_1"}, "by_replay"),
)


async def test_the_migrations_make_the_tables(database: Database) -> None:
    await migrate.upgrade(database)
    assert await migrate.revision(database) == (await migrate.upgrade(database),) * 2

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_processes_that_start_together_migrate_one_after_the_other(database: Database) -> None:
    await asyncio.gather(*(migrate.upgrade(database) for _ in range(4)))
    await database.close()


async def test_a_newer_schema_is_not_touched(database: Database) -> None:
    await migrate.upgrade(database)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="newer version"):
        await migrate.upgrade(database)
    await database.close()


async def test_a_newer_schema_that_only_adds_is_used(database: Database) -> None:
    head = await migrate.upgrade(database)
    newer = f"9999_since_{head[:4]}"
    async with database.writing() as connection:
        await connection.execute(text(f"UPDATE alembic_version SET version_num = '{newer}'"))
    assert await migrate.upgrade(database) == newer
    await database.close()


@pytest.mark.parametrize(
    ("there", "usable"),
    [
        ("0007", True),
        ("0006", False),
        ("0008", False),
        ("0008_since_0007", True),
        ("0009_since_0006", True),
        ("0009_since_0008", False),
        ("0006_since_0005", False),
        (None, False),
    ],
)
def test_the_schema_revisions_that_a_program_can_use(there: str | None, usable: bool) -> None:
    assert migrate.is_usable(there, "0007") is usable
    assert migrate.is_usable(there, "0007_since_0006") is (usable and there != "0007")


def test_only_known_databases_are_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HOOKSTREAM_DATABASE_URL"):
        Database("mysql://x/y", tmp_path)


async def test_a_url_may_name_a_file_or_how_to_encrypt(tmp_path: Path, postgres: Postgres) -> None:
    named = Database(f"sqlite:///{tmp_path}/other.sqlite3", tmp_path / "unused")
    await migrate.upgrade(named)
    assert (tmp_path / "other.sqlite3").exists() and not (tmp_path / "unused").exists()
    await named.close()
    url = await postgres.database()
    plain = Database(f"{url}?sslmode=disable", tmp_path)
    await migrate.upgrade(plain)
    await plain.close()
    sealed = Database(f"{url.replace('hookstream@', 'hookstream:hidden@')}?sslmode=require", tmp_path)
    with pytest.raises(Unavailable, match="PostgreSQL") as refused:
        await migrate.upgrade(sealed)
    assert "hidden" not in str(refused.value)
    await sealed.close()


async def test_no_query_scans_a_table(stores: tuple[SqlProjectionStore, SqlReadStore]) -> None:
    write, read = stores
    journal = Journal()
    for number in range(3000):
        one = delivery(number, endpoint_id=f"ep_{number % 20}", event_type=f"a.{number % 7}")
        journal.attempted(one, BEGUN_MS + number, **({}, FAILED, DEAD)[number % 3])
    await journal.into(write)
    asked = statements(read)
    for fields, index in FILTERS:
        which = msgspec.structs.replace(ACME, **fields)
        page = await read.deliveries(which, limit=20)
        if page.cursor:
            await read.deliveries(which, limit=20, cursor=page.cursor)
        await read.count(which, at_most=1000)
        plans = await plans_of(read, asked)
        # PostgreSQL weighs by what it has counted: any index that keeps the order may be the best one
        wanted = f"deliveries_{index}|sqlite_autoindex" if read._database.is_sqlite else "deliveries_"
        assert plans and all(re.search(rf"(INDEX|using) ({wanted})", plan) for plan in plans), plans
        assert [plan for plan in plans if SCAN.search(plan) or SORT.search(plan)] == []
    await read.delivery("acme", "live", "dlv_1")
    await read.delivery_of_any_tenant("dlv_1")
    await read.attempts("acme", "live", "dlv_1")
    await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    await read.dead_groups("acme", "live", since_ms=0, limit=20)
    await read.notices("acme", "live", endpoint_id=None, limit=20)
    await read.notices("acme", "live", endpoint_id="ep_1", limit=20, before_ms=BEGUN_MS)
    await write.prune(1, audit_before_ms=1, limit=10)
    others = await plans_of(read, asked)
    assert len(others) >= 9
    assert [plan for plan in others if SCAN.search(plan)] == []


async def test_postgresql_keeps_no_plan_that_was_made_for_an_empty_table(tmp_path: Path, postgres: Postgres) -> None:
    database = Database(await postgres.database(), tmp_path, connections=1)
    write = SqlProjectionStore(database)
    await write.prepare()
    journal, numbers = Journal(), count()
    for size in (*[5] * 10, 12_000, *[5] * 10):
        for number in islice(numbers, size):
            journal.attempted(delivery(number), BEGUN_MS)
        await journal.into(write)
    async with database.reading() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with database.reading() as connection:
        read = "SELECT seq_tup_read, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'deliveries'"
        read_in_sequence, inserted = (await connection.execute(text(read))).one()
    assert inserted > 12_000
    assert read_in_sequence < 12_000, "of 120,000, if each of the last ten had looked through all before it"
    await database.close()
