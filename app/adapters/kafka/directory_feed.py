"""Reads a compacted topic from the beginning and follows it: how each process sees the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.adapters.clock import SystemClock
from app.adapters.kafka.clients import AioConsumer, KafkaClients
from app.adapters.kafka.log_end import LogEnd
from app.core.directory import Directory
from app.core.errors import Defect, Unavailable
from app.core.records.registry import apply
from app.core.topics.names import TopicName
from app.ports.metrics import Meter

logger = structlog.get_logger(__name__)
#: one partition is read, so a long wait delays nothing
_FETCH_WAIT_MS = 2_000


class CompactedTopicReader:
    """Reads the committed records of a topic with one partition; `apply` is called for each, in order."""

    def __init__(
        self, clients: KafkaClients, topic: str, *, client_id: str, apply: Callable[[str, bytes | None], None]
    ) -> None:
        self._clients = clients
        self._place = TopicPartition(topic, 0)
        self._client_id = client_id
        self._apply = apply
        self._consumer: AioConsumer | None = None
        #: on the reader's connection the query would wait behind the long poll
        self._stable_end: LogEnd | None = None
        #: the high watermark, open transactions included; connected by the first `catch_up_after_reply`
        self._high_end: LogEnd | None = None
        self._connecting = asyncio.Lock()
        #: called for each record that cannot be decoded and is skipped
        self.on_unreadable: Callable[[], None] = lambda: None
        #: every record below this offset has been applied
        self.position = 0
        self._moved = asyncio.Condition()
        self._clock = SystemClock()
        #: every record appended before this time (monotonic) has been applied
        self._caught_up_at = 0.0
        #: when the last query was sent
        self._asked_at = 0.0
        self._query: asyncio.Task[int] | None = None
        self._next_query: asyncio.Task[int] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, read to the present end and return; further records are applied in the background."""
        self._consumer = self._clients.consumer(
            self._client_id, fetch_max_wait_ms=_FETCH_WAIT_MS, metadata_max_age_ms=60_000
        )
        self._stable_end = LogEnd(self._clients, self._place, client_id=self._client_id)
        async with self._clients.connecting():
            await self._consumer.start()
            await self._stable_end.start()
        self._consumer.assign([self._place])
        await self._consumer.seek_to_beginning(self._place)
        self._task = asyncio.create_task(self._read())
        await self.catch_up()

    async def stop(self) -> None:
        """Disconnect (bounded)."""
        tasks = [task for task in (self._task, self._query, self._next_query) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ends = [end.close() for end in (self._stable_end, self._high_end) if end is not None]
        for closing in [self._consumer.stop(), *ends] if self._consumer is not None else ends:
            stopping = asyncio.create_task(closing)
            await asyncio.wait([stopping], timeout=3)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def catch_up(self, since: float | None = None) -> None:
        """Return when every record appended before `since` (monotonic; None: before the call) has been applied.

        One query is sent at a time. Calls with an earlier `since`, such as those for the batches of one poll, share its
        answer; other calls that arrive meanwhile share the next one.
        """
        if since is not None and self._caught_up_at >= since:
            return
        asked = self._clock.monotonic()
        if self._query is not None and since is not None and self._asked_at >= since:
            question, asked = self._query, self._asked_at
        elif self._query is None or self._query.done():
            self._query, self._asked_at = asyncio.create_task(self._end(self._stable_end)), asked
            question = self._query
        else:
            if self._next_query is None or self._next_query.done():
                self._next_query = asyncio.create_task(self._end_after(self._query))
            question = self._next_query
        await self.reached(await asyncio.shield(question))
        self._caught_up_at = max(self._caught_up_at, asked)

    async def _end_after(self, earlier: asyncio.Task[int]) -> int:
        await asyncio.wait([earlier])
        self._query, self._next_query = self._next_query, None
        self._asked_at = self._clock.monotonic()
        return await self._end(self._stable_end)

    async def catch_up_after_reply(self) -> None:
        """Return when every change that a registry reply has reported so far has been applied.

        A transaction commits partition by partition: the reply may be visible before the change is. Its record
        is in the log already, so wait for the high watermark instead of the last stable offset.
        """
        async with self._connecting:
            if self._high_end is None:
                end = LogEnd(self._clients, self._place, client_id=self._client_id, committed=False)
                try:
                    with self._clients.reachable():
                        await end.start()
                except BaseException:
                    await end.close()
                    raise
                self._high_end = end
        await self.reached(await self._end(self._high_end))

    async def reached(self, position: int) -> None:
        """Return when the topic has been applied up to `position`."""
        if self.position >= position:
            return
        async with self._moved:
            await self._moved.wait_for(lambda: self.position >= position)

    async def _end(self, end: LogEnd | None) -> int:
        if end is None:
            raise Defect("the table was not started")
        failing = False
        while True:
            try:
                return await end.get()
            except KafkaError as error:
                if not failing:  # once for each query
                    logger.warning("table.end_unknown", topic=self._place.topic, error=repr(error))
                failing = True
                await asyncio.sleep(0.2)

    async def _read(self) -> None:
        consumer = self._consumer
        if consumer is None:
            raise Defect("the table was not started")
        failing = False
        while True:
            try:
                records = (await consumer.getmany(self._place, timeout_ms=200 if self.position == 0 else 1000)).get(
                    self._place, []
                )
                position = await consumer.position(self._place)
            except KafkaError as error:
                if not failing:  # once, until it succeeds again
                    logger.warning("table.read_failed", topic=self._place.topic, error=repr(error))
                failing = True
                await asyncio.sleep(0.2)
                continue
            failing = False
            for record in records:
                try:
                    self._apply((record.key or b"").decode(), record.value)
                except (ValueError, TypeError, RecursionError) as error:
                    logger.error(
                        "table.unreadable", topic=self._place.topic, offset=record.offset, error=str(error)[:500]
                    )
                    self.on_unreadable()
            if position != self.position:
                async with self._moved:
                    self.position = position
                    self._moved.notify_all()


class KafkaDirectoryFeed:
    """`app.ports.registry.DirectoryFeed` over the registry topic."""

    def __init__(
        self,
        clients: KafkaClients,
        topic: str,
        *,
        client_id: str,
        directory: Directory,
        meter: Meter | None = None,
    ) -> None:
        self.directory = directory
        self._ready = False
        self._topic = topic
        self._table = CompactedTopicReader(
            clients, topic, client_id=client_id, apply=lambda key, value: apply(directory, key, value)
        )
        if meter is not None:
            self._table.on_unreadable = lambda: meter.count("records_unreadable_total", topic=TopicName.REGISTRY)

    async def start(self, timeout_s: float = 60.0) -> None:
        """Read the whole registry, however large; `Unavailable` when nothing more was read for `timeout_s`."""
        reading = asyncio.create_task(self._table.start())
        position = -1
        try:
            while position < self._table.position and not reading.done():
                position = self._table.position
                await asyncio.wait([reading], timeout=timeout_s)
            if not reading.done():
                raise Unavailable(f"topic {self._topic} was read up to {position}, and no further in {timeout_s:.0f} s")
        finally:
            reading.cancel()
        await reading
        self._ready = True

    async def stop(self) -> None:
        """Disconnect."""
        await self._table.stop()

    def ready(self) -> str | None:
        """None once the directory is complete."""
        return None if self._ready else "reading the registry"

    @property
    def position(self) -> int:
        """See `app.ports.registry.DirectoryFeed`."""
        return self._table.position

    async def catch_up(self, since: float | None = None) -> None:
        """See `app.ports.registry.DirectoryFeed`."""
        await self._table.catch_up(since)

    async def catch_up_after_reply(self) -> None:
        """See `app.ports.registry.DirectoryFeed`."""
        await self._table.catch_up_after_reply()
