"""On uvloop a request to a broker that has just gone raises RuntimeError; a client's metadata task must outlive it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from aiokafka import conn
from aiokafka.errors import KafkaConnectionError

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.connections import BrokerConnection
from app.core.kafka_connection import KafkaConnection
from tests.conftest import RealBroker
from tests.patience import PATIENCE_S


async def _with_lost_connection(broker: RealBroker) -> tuple[Any, Any]:
    """A client with a connection whose transport has closed, which the connection has not noticed yet.

    In production that lasts for one round of the event loop; here it lasts.
    """
    client: Any = KafkaClients(KafkaConnection(bootstrap=broker.bootstrap)).metadata_client("test")
    await client.bootstrap()
    (node,) = client.cluster.brokers()
    connection = await client._get_conn(node.nodeId)
    connection._read_task.cancel()
    connection._reader.at_eof = lambda: False
    connection._writer.transport.abort()
    while "closed=True" not in repr(connection._writer.transport):
        await asyncio.sleep(0)
    assert connection.connected()
    return client, connection


def test_metadata_is_refreshed_after_a_lost_connection(broker: RealBroker) -> None:
    async def refresh() -> bool:
        client, _ = await _with_lost_connection(broker)
        async with asyncio.timeout(PATIENCE_S):
            await client.force_metadata_update()
            refreshed: bool = await client.force_metadata_update()
        await client.close()
        return refreshed

    assert uvloop.run(refresh())


def test_the_stock_client_refreshes_no_more(broker: RealBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when aiokafka needs our connection class no longer."""
    monkeypatch.setattr(conn, "AIOKafkaConnection", conn.AIOKafkaConnection.__base__)

    async def refresh() -> None:
        client, _ = await _with_lost_connection(broker)
        client.force_metadata_update()
        await asyncio.wait([client._sync_task], timeout=PATIENCE_S)
        with pytest.raises(RuntimeError, match="handler is closed"):
            client._sync_task.result()
        client._sync_task = None
        await client.close()

    uvloop.run(refresh())


def test_a_request_on_a_lost_connection_is_a_kafka_error(broker: RealBroker) -> None:
    async def ask() -> None:
        client, connection = await _with_lost_connection(broker)
        assert isinstance(connection, BrokerConnection)
        with pytest.raises(KafkaConnectionError, match="lost"):
            connection._send_sasl_token(b"")
        assert not connection.connected()
        await client.close()

    uvloop.run(ask())
