"""A port that accepts connections and never answers is given up after a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.kafka.scan import latest
from app.core.errors import Unavailable
from app.core.kafka_connection import KafkaConnection
from tests.patience import PATIENCE_S


@pytest.fixture
async def silent() -> AsyncIterator[KafkaClients]:
    """Clients of a server that reads everything and sends nothing."""

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield KafkaClients(KafkaConnection(bootstrap=f"127.0.0.1:{port}"), connect_s=0.2)
    server.close()


async def test_commands_end_with_the_remedy(silent: KafkaClients) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s.*\n.*HOOKSTREAM_BOOTSTRAP_SERVERS"):
            async with KafkaAdmin(silent):
                pass
        with pytest.raises(Unavailable, match="no answer"):
            await KafkaProducer(silent, client_id="test").start([])
        with pytest.raises(Unavailable, match="no answer"):
            await latest(silent, "topic", 0)
