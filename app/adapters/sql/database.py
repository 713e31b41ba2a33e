"""Connections to the read model's database, and where the exceptions of SQL become ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.errors import ConfigError, Defect, Unavailable
from app.ports.dependencies import Dependency

#: SQLite's file in the data folder
FILE = "readmodel.sqlite3"
#: so long one writer waits for another, milliseconds
_LOCK_MS = 10_000
#: seconds that a statement on PostgreSQL may take
_STATEMENT_S = 60
_CONNECT_S = 5


class Database:
    """One engine; SQLite where there is no URL."""

    def __init__(
        self, url: str | None, data_dir: Path, *, connections: int = 5, status: Dependency | None = None
    ) -> None:
        """Connects when it is used first; `status` is told of each use.

        Raises `ConfigError` when the URL names none that is known.
        """
        self._status = status
        self.is_sqlite = url is None or url.startswith("sqlite")
        self._path = Path(urlsplit(url).path[1:]) if url and self.is_sqlite else data_dir / FILE
        self.name = f"SQLite, {self._path}" if self.is_sqlite else _hidden(url or "")
        if self.is_sqlite:
            self.engine = create_async_engine(f"sqlite+aiosqlite:///{self._path}", pool_size=connections)
            _as_wanted(self.engine)
        else:
            self.engine = create_async_engine(
                _postgresql(url or ""),
                pool_size=connections,
                pool_pre_ping=True,
                connect_args={
                    "timeout": _CONNECT_S,
                    "command_timeout": _STATEMENT_S,
                    # a plan that was made for an empty table must not be kept while it fills
                    "server_settings": {"application_name": "hookstream", "plan_cache_mode": "force_custom_plan"},
                },
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to ask with."""
        with_errors = _Errors(self.name, self._status)
        with with_errors:
            if self.is_sqlite and not self._path.exists():
                raise Unavailable(f"The read model ({self.name}) is not there yet: the role projection makes it.")
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose questions are all answered as of the first one."""
        async with self.reading() as connection:
            if not self.is_sqlite:  # there a transaction is one anyway
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
    """What the database's exceptions mean for others."""

    def __init__(self, name: str, status: Dependency | None) -> None:
        self._name = name
        self._status = status

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DataError | IntegrityError) or type(error) is StatementError:
            raise Defect(f"The read model's database has refused a value: {_said(error)}") from error
        if isinstance(error, SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
            reason = f"The read model's database ({self._name}) cannot be used: {_said(error)}"
            if self._status is not None:
                self._status.down(reason)
            raise Unavailable(reason) from error
        if error is None and self._status is not None:
            self._status.up()


def _said(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:300] or type(cause).__name__


def _as_wanted(engine: AsyncEngine) -> None:
    """Readers never wait for the writer, the writer asks for the lock at once, and transactions are real ones."""

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(raw: Any, record: object) -> None:
        raw.isolation_level = None  # the driver's own beginnings come too late
        cursor = raw.cursor()
        for pragma in (
            f"busy_timeout={_LOCK_MS}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "cache_size=-65536",
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
            [f"HOOKSTREAM_DATABASE_URL: {parsed.drivername} is not known: postgresql://… or sqlite:///path"]
        )
    mode = parsed.query.get("sslmode")  # as libpq names it; the driver takes the same words under another name
    if mode is not None:
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed.set(drivername="postgresql+asyncpg")


def _hidden(url: str) -> str:
    parsed = _postgresql(url)
    return f"PostgreSQL, {parsed.host or 'localhost'}:{parsed.port or 5432}/{parsed.database or ''}"
