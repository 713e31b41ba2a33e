"""The end offsets of topics and the committed offsets of groups, over a connection of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiokafka import TopicPartition

from app.adapters.kafka.clients import AioAdmin, AioConsumer, KafkaClients
from app.core.errors import Defect


class KafkaOffsets:
    """`app.ports.history.OffsetQueries` on a consumer without a group that fetches no records."""

    def __init__(self, clients: KafkaClients, *, client_id: str, events: str, fanout_group: str) -> None:
        self._clients = clients
        self._events = events
        self._fanout_group = fanout_group
        self._admin = clients.admin(client_id)
        self._consumer = clients.consumer(client_id)

    async def start(self) -> None:
        """Connect."""
        with self._clients.reachable():
            await self._consumer.start()
            await self._admin.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()
        await self._admin.close()

    async def ends(self, topic: str) -> Mapping[int, int]:
        """See `app.ports.history.OffsetQueries`."""
        with self._clients.reachable():
            cluster = await self._consumer._client.fetch_all_metadata()
            numbers = cluster.partitions_for_topic(topic)
            if not numbers:
                raise Defect(f"topic {topic} does not exist")
            places = [TopicPartition(topic, number) for number in sorted(numbers)]
            ends = await self._consumer.end_offsets(places)
        return {place.partition: int(end) for place, end in ends.items()}

    async def fanned_out(self) -> Mapping[int, int]:
        """See `app.ports.history.OffsetQueries`."""
        with self._clients.reachable():
            done = await committed(self._admin, self._fanout_group, self._events)
        return {number: done.get(number, 0) for number in await self.ends(self._events)}


def preload_metadata(asker: AioConsumer, places: Collection[TopicPartition]) -> None:
    """Assign the partitions, paused, so that one request fetches the metadata of all their topics.

    Otherwise the first offset query would fetch metadata for one topic after the other, 0.1 s each.
    """
    asker.assign(list(places))
    asker.pause(*places)


async def committed(admin: AioAdmin, group: str, topic: str) -> dict[int, int]:
    """Partition → the committed offset of a group, without the partitions that have no commit."""
    offsets = await admin.list_consumer_group_offsets(group)
    return {
        place.partition: int(commit.offset)
        for place, commit in offsets.items()
        if place.topic == topic and commit.offset >= 0
    }
