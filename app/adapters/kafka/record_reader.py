"""Fetches records by partition and offset, over a connection of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping

from aiokafka import TopicPartition

from app.adapters.kafka.clients import AioConsumer, KafkaClients
from app.core.errors import Unavailable
from app.ports.consumer import Record

#: the largest gap between two wanted offsets that is read through instead of skipped by a seek
_NEIGHBOURS = 200
#: bytes that one fetch may bring of a partition
_FETCH_BYTES = 256 * 1024
_POLL_MS = 1000
#: polls in a row without progress after which reading fails
_PATIENCE = 10


class KafkaRecordReader:
    """`app.ports.history.RecordReader` on a consumer without a group; connects at the first call."""

    def __init__(self, clients: KafkaClients, *, client_id: str) -> None:
        self._clients = clients
        self._client_id = client_id
        self._consumer: AioConsumer | None = None
        self._turn = asyncio.Lock()

    async def records(self, topic: str, spots: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Record]:
        """See `app.ports.history.RecordReader`."""
        wanted: dict[int, list[int]] = defaultdict(list)
        for number, offset in sorted(set(spots)):
            wanted[number].append(offset)
        if not wanted:
            return {}
        async with self._turn:
            with self._clients.reachable():
                reader = await self._connected()
                places = {number: TopicPartition(topic, number) for number in wanted}
                begins = await reader.beginning_offsets(list(places.values()))
                ends = await reader.end_offsets(list(places.values()))
                left = {
                    place: [each for each in wanted[number] if begins[place] <= each < ends[place]]
                    for number, place in places.items()
                }
                return await self._fetch(reader, {place: offsets for place, offsets in left.items() if offsets})

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _connected(self) -> AioConsumer:
        if self._consumer is None:
            reader = self._clients.consumer(
                self._client_id,
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=100,
            )
            try:
                await reader.start()
            except BaseException:
                await reader.stop()
                raise
            self._consumer = reader
        return self._consumer

    async def _fetch(self, reader: AioConsumer, left: dict[TopicPartition, list[int]]) -> dict[tuple[int, int], Record]:
        by_place: dict[tuple[int, int], Record] = {}
        reader.assign(list(left))
        for place, offsets in left.items():
            reader.seek(place, offsets[0])
        positions: dict[TopicPartition, int] = {}
        idle = 0
        while left:
            idle += 1
            if idle > _PATIENCE:
                raise Unavailable("Kafka does not return records that are within the log's offsets")
            for place, records in (await reader.getmany(*left, timeout_ms=_POLL_MS)).items():
                wanted = set(left[place])
                by_place |= {(place.partition, each.offset): each for each in records if each.offset in wanted}
            for place in list(left):
                at = await reader.position(place)
                if at != positions.get(place):  # reading may also advance over markers and aborted records
                    idle = 0
                positions[place] = at
                rest = [each for each in left[place] if each >= at]
                if not rest:
                    del left[place]
                    reader.pause(place)
                elif rest[0] - at > _NEIGHBOURS:
                    reader.seek(place, rest[0])
                    left[place] = rest
                else:
                    left[place] = rest
        return by_place
