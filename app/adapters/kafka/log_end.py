"""The end of one partition, asked for at little cost.

Fan-out asks for the registry's end before each batch. aiokafka's consumer needs several tasks for an answer, and a
group of fetchers behind it; this is one request on a connection of its own.
"""

from __future__ import annotations

from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError, for_code
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from app.adapters.kafka.clients import AioClient, KafkaClients

_COMMITTED, _UNCOMMITTED = 1, 0


class LogEnd:
    """Queries the end of one partition."""

    def __init__(self, clients: KafkaClients, place: TopicPartition, *, client_id: str, committed: bool = True) -> None:
        """`committed`: the last stable offset, otherwise the high watermark, open transactions included."""
        self._client: AioClient = clients.metadata_client(client_id)
        self._place = place
        isolation = _COMMITTED if committed else _UNCOMMITTED
        partitions = [(place.partition, OffsetResetStrategy.LATEST)]
        self._request = OffsetRequest(-1, isolation, [(place.topic, partitions)])

    async def start(self) -> None:
        """Connect. Raises `KafkaError`."""
        await self._client.bootstrap()
        await self._client.set_topics([self._place.topic])

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def get(self) -> int:
        """The offset after the last record. Raises `KafkaError`, after which the next call may succeed."""
        leader = self._client.cluster.leader_for_partition(self._place)
        if leader is None or leader < 0:
            await self._client.force_metadata_update()
            raise LeaderNotAvailableError(self._place)
        response = await self._client.send(leader, self._request)
        ((_, ((_, code, _, offset),)),) = response.topics
        error = for_code(code)
        if code:
            if error.invalid_metadata:
                await self._client.force_metadata_update()
            raise error(self._place)
        return int(offset)
