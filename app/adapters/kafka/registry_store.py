"""The registry's single writer: read commands, and write state, replies and the commands' offset in one transaction.

Two writers cannot both succeed: the consumer group assigns the only partition of registry.commands to one of them, and
the transactional id fences a former writer whose transaction would come late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError
from aiokafka.structs import OffsetAndMetadata

from app.adapters.kafka.clients import AioProducer, KafkaClients
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.core.directory import Directory
from app.core.errors import RecordTooLarge, Unavailable
from app.core.offsets.partitions import CommittedOffset, PartitionId
from app.ports.consumer import Record
from app.ports.registry import DirectoryFeed

logger = structlog.get_logger(__name__)


class KafkaRegistryStore:
    """`app.ports.registry.RegistryStore` on Kafka."""

    def __init__(
        self,
        clients: KafkaClients,
        *,
        group: str,
        commands: str,
        feed: DirectoryFeed,
        registry: str,
        replies: str,
        audit: str,
        client_id: str,
        session_s: float = 10.0,
        instance: str | None = None,
    ) -> None:
        self._clients = clients
        self._group = group
        self._client_id = client_id
        self._feed = feed
        self._registry = registry
        self._replies = replies
        self._audit = audit
        self._commands = commands
        self._source = KafkaGroupConsumer(
            clients,
            group=group,
            client_id=client_id,
            topics=[commands],
            session_s=session_s,
            hold=True,
            instance=instance,
        )
        self._producer: AioProducer | None = None
        self._chosen = asyncio.Event()
        self._lost = False
        self._joined = False
        #: the committed offset of the commands
        self._next = 0

    async def start(self) -> None:
        """Join the writers' group."""
        await self._source.start(self)

    async def stop(self) -> None:
        """Leave the group (bounded)."""
        await self._source.stop()
        await self._drop_producer()

    async def chosen(self, directory: Directory) -> None:
        """Wait until this process is the writer, fence its predecessor, and copy the process's own directory.

        The two directories share their entities, so the writer costs the memory of its indexes alone.
        """
        while not self._chosen.is_set():
            await self._source.poll(timeout_ms=1000)  # only to raise errors of the group; the partition is paused
        self._lost = False
        await self._drop_producer()
        producer = self._clients.producer(
            self._client_id,
            transactional_id=self._group,
            transaction_timeout_ms=15_000,
        )
        with self._clients.reachable():
            await producer.start()
        self._producer = producer
        # All of the predecessor is committed or aborted now, and only this process will change the registry.
        await self._feed.catch_up()
        for _ in directory.copied(self._feed.directory):
            await asyncio.sleep(0)
        # The predecessor may have committed between our assignment and the moment at which it was fenced.
        place = (self._commands, 0)
        await self._source.rewind(place)
        if not self._lost:
            self._source.resume(place)
        logger.info("registry.writer", endpoints=len(directory))

    def is_writer(self) -> bool:
        """Whether the partition of commands is still ours."""
        return self._chosen.is_set() and not self._lost

    def stands_by(self) -> bool:
        """See `app.ports.registry.RegistryStore`."""
        return self._joined and not self._chosen.is_set()

    def assigned_place(self) -> tuple[PartitionId, int | None] | None:
        """See `app.ports.registry.RegistryStore`."""
        place = (self._commands, 0)
        return (place, self._source.position(place)) if self._chosen.is_set() else None

    async def poll(self) -> Sequence[Record]:
        """The next commands, at most a hundred."""
        batches = await self._source.poll(timeout_ms=1000, max_records=100)
        records = [record for each in batches.values() for record in each]
        if not records:
            await self._pass_markers()
        return records

    async def _pass_markers(self) -> None:
        """Commit the position past transaction markers of other producers that follow the last command."""
        place = (self._commands, 0)
        position = self._source.position(place)
        if position is None or position <= self._next or not self.is_writer():
            return
        if await self._source.commit({place: (position, "")}):
            self._next = position

    async def commit(
        self,
        states: Sequence[tuple[str, bytes | None]],
        entries: Sequence[tuple[str, bytes]],
        replies: Sequence[tuple[str, bytes]],
        next_offset: int,
    ) -> None:
        """See `app.ports.registry.RegistryStore`."""
        producer = self._producer
        if producer is None or self._lost:
            raise Unavailable("another process has become the registry's writer")
        place = TopicPartition(self._commands, 0)
        position = OffsetAndMetadata(next_offset, self._source.stamp(self._commands))
        sent: list[asyncio.Future[Any]] = []
        try:
            async with producer.transaction():
                for key, value in states:
                    sent.append(await producer.send(self._registry, key=key.encode(), value=value))
                for tenant, entry in entries:
                    sent.append(await producer.send(self._audit, key=tenant.encode(), value=entry))
                for command_id, reply in replies:
                    sent.append(await producer.send(self._replies, key=command_id.encode(), value=reply))
                await asyncio.gather(*sent)  # raises for refused records, which a commit would leave out
                await producer.send_offsets_to_transaction({place: position}, self._group)
            self._next = next_offset
        except KafkaError as error:
            failures = [error, *(each.exception() for each in sent if each.done() and not each.cancelled())]
            if any(isinstance(each, MessageSizeTooLargeError | RecordTooLargeError) for each in failures):
                raise RecordTooLarge(f"a record of the registry: {error!r}") from error
            raise Unavailable(f"the registry could not be written: {error!r}") from error

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        self._joined = True
        for committed in places.values():
            self._next = committed.offset or 0
            self._chosen.set()

    async def revoked(self, places: set[PartitionId]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        if places:
            self._chosen.clear()
            self._lost = True

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            stopping = asyncio.create_task(producer.stop())
            await asyncio.wait([stopping], timeout=3)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
