"""A write that fails at any of its statements, on either database, is repeated and leaves the rows of one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from app.adapters.sql import tables
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import Unavailable
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import ProjectionBatch
from app.ports.readmodel import OffsetAdvance
from tests.contracts.readmodel_kit import BEGUN_MS, DEAD, FAILED, Journal, delivery

Stores = tuple[SqlProjectionStore, SqlReadStore]
Write = tuple[ProjectionBatch, Mapping[PartitionId, OffsetAdvance]]
#: more than a write has statements
_MANY = 100


class Fault(NamedTuple):
    """Where the database stops: before or after statement `number` (0: the first), or at the commit."""

    number: int
    moment: str


class Breaking:
    """Lets one statement of the next transaction fail; a transaction of its own is not touched."""

    def __init__(self, write: SqlProjectionStore) -> None:
        self._engine = write._database.engine.sync_engine
        self.fault: Fault | None = None
        self.statements = 0
        self.fired = False
        event.listen(self._engine, "before_cursor_execute", self._before)
        event.listen(self._engine, "after_cursor_execute", self._after)
        self._commit = self._engine.dialect.do_commit
        self._engine.dialect.do_commit = self._committing  # type: ignore[assignment,method-assign]

    def arm(self, fault: Fault) -> None:
        """The next transaction fails there."""
        self.fault, self.statements, self.fired = fault, 0, False

    def _before(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self.fault is not None and not statement.startswith("BEGIN"):
            self.statements += 1
            self._fail("before")

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            self._fail("after")

    def _committing(self, connection: Any) -> None:
        if self.fault is not None and self.fault.moment == "commit refused":
            self._fail("commit refused", self.fault.number)
        self._commit(connection)
        if self.fault is not None and self.fault.moment == "commit unanswered":
            self._fail("commit unanswered", self.fault.number)

    def _fail(self, moment: str, number: int | None = None) -> None:
        at = Fault(self.statements - 1 if number is None else number, moment)
        if self.fault == at and not self.fired:
            self.fired = True
            raise OperationalError("a statement", {}, Exception("the disk is full"))


def _journal() -> Journal:
    """Records of each kind: a success sent twice, retries, deaths, ends without a request, notices."""
    journal = Journal()
    for number in range(12):
        one = delivery(number, endpoint_id=f"ep_{number % 3}")
        journal.handed(one, BEGUN_MS + number, partition=number % 2)
        journal.attempted(one, BEGUN_MS + 2000 + number, 1, partition=number % 2, **FAILED)
        more: dict[str, Any] = DEAD if number % 4 == 0 else {}
        journal.attempted(one, BEGUN_MS + 4000 + number, 2, partition=number % 2, **more)
        if number == 1:
            journal.attempted(one, BEGUN_MS + 4100, 2, partition=1)
    journal.attempted(
        delivery(50),
        BEGUN_MS + 5000,
        0,
        state="cancelled",
        result="endpoint_removed",
        reason="endpoint_removed",
        status=None,
        duration_ms=0.0,
    )
    journal.dead(delivery(51), BEGUN_MS + 5100, "paused")
    journal.noticed(BEGUN_MS, id="n1", tenant="acme", kind="endpoint.failing")
    return journal


async def _rows(write: SqlProjectionStore) -> dict[str, list[tuple[Any, ...]]]:
    rows = {}
    async with write._database.reading() as connection:
        for table in tables.ALL:
            found = await connection.execute(select(table).order_by(*table.primary_key))
            rows[table.name] = [tuple(row) for row in found]
    return rows


async def _until_written(
    write: SqlProjectionStore, portion: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]
) -> bool:
    """As the role does it: the same portion again for as long as the database is away."""
    while True:
        try:
            return await write.write(portion, moved)
        except Unavailable:
            continue


def _halves(journal: Journal) -> list[Write]:
    """Two writes, so that the second one meets rows of the first."""
    first = journal.portion({place: len(records) // 2 for place, records in journal.records.items()})
    journal._read |= {place: to.next for place, to in first[1].items()}
    return [first, journal.portion()]


async def _write_all(write: SqlProjectionStore, breaking: Breaking, fault: Fault) -> bool:
    """Into an empty model; whether the fault came."""
    await write.clear()
    fired = False
    for portion, moved in _halves(_journal()):
        await write.offsets(moved)
        breaking.arm(fault)
        written = await _until_written(write, portion, moved)
        fired = fired or breaking.fired
        breaking.fault = None
        assert written or fault.moment == "commit unanswered", "written before: another answer would count it again"
    return fired


@pytest.mark.parametrize("moment", ["before", "after", "commit refused", "commit unanswered"])
async def test_a_repeated_write_writes_the_same(stores: Stores, moment: str) -> None:
    write, _ = stores
    breaking = Breaking(write)
    assert not await _write_all(write, breaking, Fault(-1, "none"))
    expected = await _rows(write)
    assert expected["hours"] and expected["attempts"] and expected["notices"]
    number = 0
    while await _write_all(write, breaking, Fault(number, moment)):
        assert await _rows(write) == expected, (number, moment)
        number += 1
        if moment.startswith("commit"):
            return
        assert number < _MANY
    assert number > 6, "offsets, standings, deliveries, attempts, notices, hours, offsets"
