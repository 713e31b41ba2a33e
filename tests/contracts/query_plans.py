"""How a database would go about what it is asked."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event, text

from app.adapters.sql.read_store import SqlReadStore

#: in a plan of SQLite, or of PostgreSQL that was told that reading in sequence is dear; `offsets` has a row a partition
SCAN = re.compile(
    r"^SCAN (?!anon_|\(subquery|projection_offsets).*$|Seq Scan on (?!projection_offsets)\S+|"
    r"Index (Only )?Scan[^\n]*\n(?!\s+Index Cond)",
    re.MULTILINE,
)
SORT = re.compile(r"USE TEMP B-TREE|-> +(Incremental )?Sort\b")


def statements(read: SqlReadStore) -> list[tuple[str, Any]]:
    """Everything that is asked from now on."""
    asked: list[tuple[str, Any]] = []

    @event.listens_for(read._database.engine.sync_engine, "before_cursor_execute")
    def on_execute(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if (
            statement.startswith(("SELECT", "DELETE"))
            and "alembic" not in statement
            and not isinstance(parameters, list)
        ):
            asked.append((statement, parameters))

    return asked


async def plans_of(read: SqlReadStore, asked: list[tuple[str, Any]]) -> list[str]:
    """Each statement with how the database would go about it."""
    database = read._database
    plans = []
    async with database.reading() as connection:
        if not database.is_sqlite:
            await connection.execute(text("ANALYZE"))
            await connection.execute(text("SET enable_seqscan = off"))
            await connection.execute(text("SET enable_sort = off"))
            await connection.execute(text("SET enable_bitmapscan = off"))
        taken, asked[:] = list(asked), []
        for statement, parameters in taken:
            explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            rows = await connection.exec_driver_sql(explain + statement, parameters)
            plans.append("\n".join([statement, *(str(row[-1]) for row in rows)]))
    return plans
