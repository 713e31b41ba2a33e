"""Upstream services that write within transactions: committed, aborted, and open ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.e2e.harness import pause
from tests.kafka import clients_at
from tests.patience import PATIENCE_S


class Upstream:
    """One transactional producer of events."""

    def __init__(self, client: AIOKafkaProducer, topic: str, tenant: str) -> None:
        self._client = client
        self._topic = topic
        self._tenant = tenant

    async def committed(self, ids: Iterable[str], partition: int = 0) -> list[int]:
        """The offsets of events in a transaction of their own."""
        async with self._client.transaction():
            return await self.write(ids, partition)

    async def aborted(self, ids: Iterable[str], partition: int = 0) -> list[int]:
        """The offsets of events in a transaction that is aborted."""
        await self.begin()
        offsets = await self.write(ids, partition)
        await self.abort()
        return offsets

    async def begin(self) -> None:
        """Open a transaction."""
        await self._client.begin_transaction()

    async def abort(self) -> None:
        """Abort the open transaction."""
        await self._client.abort_transaction()

    async def write(self, ids: Iterable[str], partition: int = 0, **more: Any) -> list[int]:
        """The offsets of events in the open transaction, acknowledged."""
        offsets = []
        for id_ in ids:
            event = {"type": "a.b", "id": id_, "data": {}, "tenant": self._tenant, **more}
            sent = await self._client.send_and_wait(self._topic, json.dumps(event).encode(), partition=partition)
            offsets.append(int(sent.offset))
        return offsets


@asynccontextmanager
async def upstream(
    bootstrap: str, topic: str, tenant: str = "default", name: str = "upstream"
) -> AsyncIterator[Upstream]:
    """A producer whose transactions leave markers in the topic."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}.{name}")
    await client.start()
    try:
        yield Upstream(client, topic, tenant)
    finally:
        await client.stop()


async def until_readable(bootstrap: str, topic: str, offset: int, partition: int = 0) -> None:
    """Wait until a record counts as committed: a broker confirms the end of a transaction before it writes markers."""
    asker, place = clients_at(bootstrap).consumer("test"), TopicPartition(topic, partition)
    await asker.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await asker.end_offsets([place]))[place] <= offset:
                await pause(0.05)
    finally:
        await asker.stop()


async def until_caught_up(bootstrap: str, group: str, topic: str, partitions: int) -> None:
    """Wait until the group's commits stand where each partition that has something ends, markers included."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    asker = clients_at(bootstrap).consumer("test")
    await admin.start()
    await asker.start()
    try:
        for _ in range(int(PATIENCE_S / 0.2)):
            # asked again each time: markers of transactions that have ended may still follow
            ends = await asker.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
            wanted = {place: end for place, end in ends.items() if end}
            committed = await admin.list_consumer_group_offsets(group)
            at = {place: committed[place].offset if place in committed else 0 for place in wanted}
            if at == wanted:
                return
            await pause(0.2)
        raise AssertionError(f"{group} stands at {at}, and {topic} ends at {wanted}")
    finally:
        await admin.close()
        await asker.stop()
