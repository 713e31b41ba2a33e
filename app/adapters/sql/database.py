"""Connections to the read model's database; exceptions of SQL become Hookstream's here."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core import default_ports
from app.core.errors import ConfigError, Defect, Unavailable
from app.ports.dependencies import Dependency

#: SQLite's file in the data folder
FILE = "readmodel.sqlite3"
#: pages that a connection to SQLite may keep in memory
SQLITE_CACHE_KIB = 64 * 1024
#: milliseconds for which one writer waits for another
_LOCK_MS = 10_000
#: seconds that a statement on PostgreSQL may take
_STATEMENT_S = 60
_CONNECT_S = 5


class Database:
    """The engine of one database; SQLite without a URL."""

    def __init__(
        self, url: str | None, data_dir: Path, *, connections: int = 5, status: Dependency | None = None
    ) -> None:
        """Connect on first use; `status` gets the result of each use.

        Raises `ConfigError` when the URL is not of a supported database.
        """
        self._status = status
        self.is_sqlite = url is None or url.startswith("sqlite")
        self._path = Path(urlsplit(url).path[1:]) if url and self.is_sqlite else data_dir / FILE
        self.name = f"SQLite, {self._path}" if self.is_sqlite else _hidden(url or "")
        if self.is_sqlite:
            self.engine = create_async_engine(
                f"sqlite+aiosqlite:///{self._path}",
                pool_size=connections,
                connect_args={"factory": _SqliteConnection},
            )
            _configure(self.engine)
        else:
            self.engine = create_async_engine(
                _postgresql(url or ""),
                pool_size=connections,
                pool_pre_ping=True,
                connect_args={
                    "timeout": _CONNECT_S,
                    "command_timeout": _STATEMENT_S,
                    # a plan for an empty table must not be reused while the table fills
                    "server_settings": {"application_name": "hookstream", "plan_cache_mode": "force_custom_plan"},
                },
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries. Raises `Unavailable`."""
        with_errors = _Errors(self.name, self._status)
        with with_errors:
            if self.is_sqlite and not self._path.exists():
                raise Unavailable(f"The read model ({self.name}) does not exist yet: the role `projection` creates it.")
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose queries all see the state of the first one."""
        async with self.reading() as connection:
            if not self.is_sqlite:  # in SQLite, every transaction does
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back by any exception."""
        with _Errors(self.name, self._status):
            if self.is_sqlite:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            async with self.engine.connect() as connection:
                await connection.execution_options(hookstream_writes=True)
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        """Disconnect."""
        await self.engine.dispose()


class _Errors:
    """Turns the database's exceptions into Hookstream's, and reports each use to `status`."""

    def __init__(self, name: str, status: Dependency | None) -> None:
        self._name = name
        self._status = status

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DataError | IntegrityError) or type(error) is StatementError:
            raise Defect(f"The read model's database has refused a value: {_reason(error)}") from error
        if isinstance(error, SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
            reason = f"The read model's database ({self._name}) cannot be used: {_reason(error)}"
            if self._status is not None:
                self._status.down(reason)
            raise Unavailable(reason) from error
        if error is None and self._status is not None:
            self._status.up()


class _SqliteConnection(sqlite3.Connection):
    """Rolls back when it closes.

    The cursor of a cancelled statement keeps the transaction of a closed connection open, and with it the lock of the
    only writer. A traceback holds the cursor until the garbage collector runs.
    """

    def close(self) -> None:
        """Close. Idempotent, as it is without the rollback."""
        with suppress(sqlite3.ProgrammingError):  # it is closed
            self.rollback()
        super().close()


def _reason(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:300] or type(cause).__name__


def _configure(engine: AsyncEngine) -> None:
    """Configure SQLite so that readers never wait, writers lock at once, and SQLAlchemy begins transactions."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(raw: Any, record: object) -> None:
        raw.isolation_level = None  # the driver would begin transactions too late
        cursor = raw.cursor()
        for pragma in (
            f"busy_timeout={_LOCK_MS}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"cache_size=-{SQLITE_CACHE_KIB}",
            "temp_store=MEMORY",
            "journal_size_limit=67108864",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("hookstream_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: str) -> Any:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(["HOOKSTREAM_DATABASE_URL: postgresql://user:password@host:port/database"]) from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError(
            [f"HOOKSTREAM_DATABASE_URL: {parsed.drivername} is not supported: postgresql://… or sqlite:///path"]
        )
    mode = parsed.query.get("sslmode")  # libpq's name; the driver has the same values under another name
    if mode is not None:
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed.set(drivername="postgresql+asyncpg")


def _hidden(url: str) -> str:
    parsed = _postgresql(url)
    return f"PostgreSQL, {parsed.host or 'localhost'}:{parsed.port or default_ports.POSTGRESQL}/{parsed.database or ''}"
