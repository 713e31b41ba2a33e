"""What a reader of a compacted topic has applied when its caller goes on, on a real broker."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.adapters.kafka.directory_feed import CompactedTopicReader
from tests.conftest import RealBroker
from tests.kafka import clients_at
from tests.patience import PATIENCE_S


async def test_a_change_that_a_reply_reported_is_awaited_although_uncommitted(broker: RealBroker, prefix: str) -> None:
    """The registry commits change and reply in one transaction: the marker beside the reply may come first."""
    topic = f"{prefix}registry"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    writer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=f"{prefix}registry")
    await writer.start()
    applied: dict[str, bytes | None] = {}
    table = CompactedTopicReader(clients_at(broker.bootstrap), topic, client_id="test", apply=applied.__setitem__)
    await table.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await writer.begin_transaction()
            await writer.send_and_wait(topic, b"1", key=b"endpoint/ep_1")
            await table.catch_up()
            assert applied == {}, "a reader of committed records does not see it, and the fence is open"
            waiting = asyncio.create_task(table.catch_up_after_reply())
            await table.catch_up()
            assert not waiting.done()
            await writer.commit_transaction()
            await waiting
            assert applied == {"endpoint/ep_1": b"1"}
    finally:
        await table.stop()
        await writer.stop()
