"""Reads topics from any offset, without a group, and queries offsets and commits; used by the replay role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from app.adapters.kafka.clients import AioAdmin, AioConsumer, KafkaClients
from app.adapters.kafka.command_client import CommandClient
from app.adapters.kafka.offsets import committed
from app.core.errors import Unavailable
from app.core.model.replay import OldestRecord
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.registry import CommandSender

logger = structlog.get_logger(__name__)

_CLIENT = "hookstream-replay"
#: bytes of one partition that may be fetched ahead
_FETCH_BYTES = 128 * 1024
_AGAIN_S = 0.2
_STOP_S = 2.0


class KafkaPartitionReader:
    """`app.ports.history.PartitionReader` on a consumer of its own."""

    def __init__(self, consumer: AioConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def poll(
        self, partitions: Collection[int], *, timeout_ms: int, max_records: int
    ) -> Mapping[int, list[Record]]:
        """See `app.ports.history.PartitionReader`."""
        places = [TopicPartition(self._topic, number) for number in partitions]
        await asyncio.sleep(0)  # prefetched records are returned without a wait: let other tasks run
        try:
            batches = await self._consumer.getmany(*places, timeout_ms=timeout_ms, max_records=max_records)
        except OffsetOutOfRangeError as error:
            await self._go_on(error.args[0])
            return {}
        except KafkaError as error:
            logger.warning("replay.read_failed", topic=self._topic, error=repr(error))
            await asyncio.sleep(_AGAIN_S)
            return {}
        return {place.partition: records for place, records in batches.items()}

    async def _go_on(self, positions: Mapping[TopicPartition, int]) -> None:
        """Skip records that retention has deleted. Raises `Unavailable` if a log ends before its position."""
        begins = await self._consumer.beginning_offsets(list(positions))
        for place, position in positions.items():
            if position > begins[place]:
                raise Unavailable(f"{place.topic}, partition {place.partition}, ends before the offset {position}")
            logger.warning("replay.records_skipped", topic=place.topic, partition=place.partition, until=begins[place])
            self._consumer.seek(place, begins[place])

    async def position(self, partition: int) -> int:
        """See `app.ports.history.PartitionReader`."""
        return int(await self._consumer.position(TopicPartition(self._topic, partition)))

    async def close(self) -> None:
        """Disconnect (bounded)."""
        await _bounded(self._consumer.stop())


class KafkaHistoryReader:
    """`app.ports.history.HistoryReader` on Kafka; connects at the first call."""

    def __init__(
        self, clients: KafkaClients, *, fanout_group: str, events: str, sequencer_group: str, ordered: str
    ) -> None:
        self._clients = clients
        self._fanout = fanout_group, events
        self._sequencer = sequencer_group, ordered
        #: for offset queries only, which would wait behind a long poll of a reader
        self._asker: AioConsumer | None = None
        self._admin: AioAdmin | None = None
        self._connecting = asyncio.Lock()

    async def open(self, topic: str, starts: Mapping[int, int]) -> KafkaPartitionReader:
        """See `app.ports.history.HistoryReader`."""
        reader = self._consumer(auto_offset_reset="none")
        try:
            with self._clients.reachable():
                await reader.start()
                reader.assign([TopicPartition(topic, number) for number in starts])
                for number, offset in starts.items():
                    reader.seek(TopicPartition(topic, number), offset)
        except BaseException:
            await _bounded(reader.stop())
            raise
        return KafkaPartitionReader(reader, topic)

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """See `app.ports.history.HistoryReader`."""
        asker = await self._ask()
        with self._clients.reachable():
            ends = await asker.end_offsets([TopicPartition(topic, number) for number in partitions])
        return {place.partition: int(end) for place, end in ends.items()}

    async def oldest(self, topic: str, partitions: Collection[int]) -> Mapping[int, OldestRecord]:
        """See `app.ports.history.HistoryReader`."""
        asker, places = await self._ask(), [TopicPartition(topic, number) for number in partitions]
        with self._clients.reachable():
            begins = await asker.beginning_offsets(places)
            firsts = await asker.offsets_for_times(dict.fromkeys(places, 0))
        return {
            place.partition: OldestRecord(int(begins[place]), int(first.timestamp) if first is not None else None)
            for place, first in ((each, firsts[each]) for each in places)
        }

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See `app.ports.history.HistoryReader`."""
        asker, place = await self._ask(), TopicPartition(topic, partition)
        with self._clients.reachable():
            first = (await asker.offsets_for_times({place: timestamp_ms}))[place]
            return int(first.offset) if first is not None else int((await asker.end_offsets([place]))[place])

    async def fanned_out(self) -> Mapping[int, int]:
        """See `app.ports.history.HistoryReader`."""
        return await self._committed(*self._fanout)

    async def sequenced(self) -> Mapping[int, int]:
        """See `app.ports.history.HistoryReader`."""
        return await self._committed(*self._sequencer)

    async def _committed(self, group: str, topic: str) -> Mapping[int, int]:
        with self._clients.reachable():
            async with self._connecting:
                if self._admin is None:
                    admin = self._clients.admin(_CLIENT)
                    await admin.start()
                    self._admin = admin
            return await committed(self._admin, group, topic)

    async def close(self) -> None:
        """Disconnect (bounded)."""
        asker, self._asker = self._asker, None
        admin, self._admin = self._admin, None
        await asyncio.gather(
            *([_bounded(asker.stop())] if asker is not None else []),
            *([_bounded(admin.close())] if admin is not None else []),
        )

    async def _ask(self) -> AioConsumer:
        async with self._connecting:
            if self._asker is None:
                asker = self._consumer()
                try:
                    async with self._clients.connecting():
                        await asker.start()
                except BaseException:
                    await _bounded(asker.stop())
                    raise
                self._asker = asker
            return self._asker

    def _consumer(self, **options: str) -> AioConsumer:
        return self._clients.consumer(
            _CLIENT,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=500,
            metadata_max_age_ms=60_000,
            **options,
        )


@asynccontextmanager
async def commands(clients: KafkaClients, *, commands: str, replies: str, clock: Clock) -> AsyncIterator[CommandSender]:
    """A connection to the registry for as long as a replay runs."""
    client = CommandClient(clients, commands=commands, replies=replies, client_id=_CLIENT, clock=clock)
    try:
        await client.start()
        yield client
    finally:
        await _bounded(client.stop())


async def _bounded(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=_STOP_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
