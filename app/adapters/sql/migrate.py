"""Migrate the database to the current schema, one process at a time.

A revision named `0007_since_0006` only adds what programs of schema 0006 need not know: an index, a table, or a column
that may be NULL. Those programs continue to work with it, so that a release can be rolled back.
"""

from __future__ import annotations

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.adapters.sql.database import Database
from app.core.errors import Unavailable

FOLDER = Path(__file__).parent / "migrations"
#: the advisory lock of migrations: an arbitrary number
_LOCK = 7_230_447_310
#: of the number that a revision begins with
_DIGITS = 4


async def upgrade(database: Database) -> str:
    """Migrate under a lock; returns the revision of the database.

    Raises `Unavailable`, also for the schema of a newer version that this program cannot use.
    """
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        return await connection.run_sync(_upgrade)


async def revision(database: Database) -> tuple[str | None, str]:
    """The revision of the database (None: it has no schema), and that of this program."""
    async with database.reading() as connection:
        return await connection.run_sync(_current), _head()


def is_usable(there: str | None, head: str) -> bool:
    """Whether a program whose newest revision is `head` can work with a database of the revision `there`."""
    if there == head:
        return True
    oldest = re.fullmatch(r"(\d+)_since_(\d+)", there or "")
    return oldest is not None and oldest[2] <= head[:_DIGITS] < oldest[1]


def _upgrade(connection: Connection) -> str:
    current, head = _current(connection), _head()
    if current is not None and is_usable(current, head):
        return current
    revisions = {script.revision for script in _scripts().walk_revisions()}
    if current is not None and current not in revisions:
        raise Unavailable(
            f"The read model has the schema {current} of a newer version of Hookstream. Update this one, or drop the "
            "tables: they are created and filled again."
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return head


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _head() -> str:
    return str(_scripts().get_current_head())
