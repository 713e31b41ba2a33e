"""Every sender and secured connection, on both event loops: the standard one, and the one of production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from app.adapters.http.sender import HttpSender
from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.egress import EgressPolicy
from tests.contracts.sender_kit import LOCAL, AnySender, Open
from tests.contracts.session_sender import HttpSessionSender
from tests.postgres import Postgres


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name.startswith(("test_sender", "test_kafka_security")):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=[HttpSender, HttpSessionSender], ids=["connector", "session"])
async def open_sender(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_one(policy: EgressPolicy = LOCAL, **options: object) -> AnySender:
            sender: AnySender = request.param(policy, **options)
            await sender.start()
            stack.push_async_callback(sender.close)
            return sender

        yield open_one


@pytest.fixture
async def stores(database: Database) -> AsyncIterator[tuple[SqlProjectionStore, SqlReadStore]]:
    """An empty read model, to write and to ask."""
    store = SqlProjectionStore(database)
    await store.prepare()
    yield store, SqlReadStore(database)
    await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Empty, on each kind of database."""
    if request.param == "sqlite":
        return Database(None, tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return Database(await server.database(), tmp_path)
