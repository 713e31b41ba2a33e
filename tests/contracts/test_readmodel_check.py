"""Counters are compared with the rows that they were counted from, and corrected, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, delete, select, text, update

from app.adapters.sql import migrate, tables
from app.adapters.sql.checking import ReadModelCheck, check_counts
from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.readmodel.hourly_stats import HOUR_MS
from tests.contracts.readmodel_kit import BEGUN_MS, DEAD, FAILED, Journal, delivery

Stores = tuple[SqlProjectionStore, SqlReadStore]


def _journal(begin_ms: int = BEGUN_MS) -> Journal:
    """Everything that counts, or counts no second time, over some hours."""
    journal = Journal()
    for number in range(60):
        one, at_ms = delivery(number, endpoint_id=f"ep_{number % 4}"), begin_ms + number * HOUR_MS // 7
        journal.handed(one, at_ms, partition=number % 2)
        journal.attempted(one, at_ms + 50, 1, partition=number % 2, duration_ms=number * 9.0, **FAILED)
        more: dict[str, Any] = ({}, DEAD, FAILED)[number % 3]
        journal.attempted(one, at_ms + 60, 2, partition=number % 2, **more)
        if number % 6 == 0:
            journal.attempted(one, at_ms + HOUR_MS, 2, partition=number % 2)  # sent again after a crash
        if number % 3 == 1:
            journal.attempted(one, at_ms + 90, 3, partition=number % 2, trigger="manual", **DEAD)
    for number, state in ((70, "cancelled"), (71, "dead"), (72, "cancelled")):
        journal.attempted(
            delivery(number),
            begin_ms + 9 * HOUR_MS,
            0,
            state=state,
            result="endpoint_removed",
            reason="endpoint_removed",
            status=None,
            duration_ms=0.0,
        )
    journal.attempted(delivery(80), begin_ms + 6, trigger="test")
    return journal


async def _check(write: SqlProjectionStore, *, not_before_ms: int = 0, repair: bool = False) -> ReadModelCheck:
    looks: list[tuple[int, int]] = []
    seen = await check_counts(
        write._database, not_before_ms=not_before_ms, repair=repair, on_progress=lambda *look: looks.append(look)
    )
    assert not seen.rows or looks[-1] == (seen.rows, seen.rows)
    return seen


async def _change(write: SqlProjectionStore, statement: Any) -> None:
    async with write._database.writing() as connection:
        await connection.execute(statement)


async def test_the_counts_agree_with_the_rows(stores: Stores) -> None:
    write, _ = stores
    assert (await _check(write)).hours == 0
    await _journal().into(write)
    seen = await _check(write)
    assert seen.differences == [] and seen.different == 0 and not seen.repaired
    assert seen.hours > 20 and seen.rows > 140 and seen.from_ms == BEGUN_MS


@pytest.mark.parametrize("fault", ["counted twice", "an hour too many", "an hour is missing"])
async def test_wrong_counts_are_named_and_corrected(stores: Stores, fault: str) -> None:
    write, read = stores
    await _journal().into(write)
    expected = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    hours = tables.hours.c
    mine = (hours.endpoint_id == "ep_1", hours.begins_ms == BEGUN_MS)
    if fault == "counted twice":
        await _change(write, update(tables.hours).where(*mine).values(delivered=hours.delivered + 5))
    elif fault == "an hour too many":
        await _change(write, update(tables.hours).where(*mine).values(endpoint_id="ep_none"))
    else:
        await _change(write, delete(tables.hours).where(*mine))
    seen = await _check(write)
    assert seen.different == len(seen.differences) == (2 if fault == "an hour too many" else 1)
    wrong = next(each for each in seen.differences if each.where.endpoint_id == "ep_1")
    assert wrong.where.begins_ms == BEGUN_MS and wrong.rows["attempts"] > 0
    assert (await _check(write)).different == seen.different, "looking changes nothing"
    assert (await _check(write, repair=True)).repaired
    assert (await _check(write)).different == 0 and not (await _check(write, repair=True)).repaired
    assert await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53) == expected


async def test_pruned_rows_are_no_difference(stores: Stores) -> None:
    write, _ = stores
    await _journal().into(write)
    before_ms = BEGUN_MS + 4 * HOUR_MS + 1000
    while await write.prune(before_ms, audit_before_ms=0, limit=7):
        pass
    seen = await _check(write, not_before_ms=before_ms)
    assert seen.different == 0 and seen.from_ms == BEGUN_MS + 5 * HOUR_MS and seen.hours > 5
    assert (await _check(write)).different == 0, "a retention that was made longer"


async def test_hours_of_an_older_version_are_left_out(database: Database) -> None:
    def to_the_first(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with database.writing() as connection:
        await connection.run_sync(to_the_first)
        names = ", ".join(tables.COUNT_COLUMNS)
        values = ", ".join("9" for _ in tables.COUNT_COLUMNS)
        key = "tenant, mode, endpoint_id, begins_ms, part"
        await connection.execute(
            text(f"INSERT INTO hours ({key}, {names}) VALUES ('acme', 'live', 'ep_1', {BEGUN_MS}, 0, {values})")
        )
    write = SqlProjectionStore(database)
    await write.prepare()
    await _journal().into(write)
    seen = await _check(write)
    assert seen.from_ms == BEGUN_MS + HOUR_MS and seen.different == 0 and seen.hours > 15
    await write.clear()
    await _journal().into(write)
    assert (await _check(write)).from_ms == BEGUN_MS, "a rebuild counts everything anew"
    async with database.reading() as connection:
        assert (await connection.execute(select(tables.counting))).all() == []
    await database.close()
