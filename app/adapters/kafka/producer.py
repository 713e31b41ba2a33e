"""Append to topics over one idempotent aiokafka producer, through any broker outage.

`producer.send` costs a coroutine and a metadata check for each record, and loses its records when the producer fails
(an out-of-order sequence after an outage). Here each partition has a channel that retains its records until the broker
has acknowledged them. One batch of a channel is in flight while the next one fills. A failed producer is replaced and
the channel sends again. Records may therefore be appended twice, but are never lost or reordered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError, RecordTooLargeError
from aiokafka.partitioner import murmur2

from app.adapters.clock import SystemClock
from app.adapters.kafka.acknowledgement import rejecter, resolver
from app.adapters.kafka.clients import AioProducer, KafkaClients, Replaced, stop_producer
from app.adapters.kafka.metadata import missing_topics, seen_topics
from app.adapters.kafka.record_size import record_size
from app.core.errors import Defect, HookstreamError, RecordTooLarge, RightMissing, Unavailable
from app.ports.metrics import Meter
from app.ports.producer import RecordHeaders

logger = structlog.get_logger(__name__)
#: unacknowledged bytes, and records, above which `room` and `append` wait
_ROOM_BYTES = 32 * 1024 * 1024
_ROOM_RECORDS = 40_000
_BATCH_BYTES = 256 * 1024
_BATCH_RECORDS = 1000
#: records from which on a batch is built in an iteration of the event loop of its own
_LARGE_RECORDS = 100
_PARTITION_CACHE = 200_000
#: (topic, value, headers) → a smaller form of the record: value and headers; None if there is none
Reduce = Callable[[str, bytes | None, RecordHeaders], tuple[bytes | None, list[tuple[str, bytes]]] | None]
#: longest duration of a try: the request's timeout, the producer's end, and the start of another one
_TRY_S = 90.0


class _Entry(msgspec.Struct, frozen=True):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    acked: Callable[[int], None]
    failed: Callable[[HookstreamError], None]
    size: int


class _Channel:
    __slots__ = ("entries", "linger_s", "partition", "task", "topic", "tried_s")

    def __init__(self, topic: str, partition: int, linger_s: float) -> None:
        self.topic = topic
        self.partition = partition
        self.linger_s = linger_s
        #: start of the last try to send a batch (monotonic)
        self.tried_s = 0.0
        self.entries: deque[_Entry] = deque()
        self.task: asyncio.Task[None] | None = None


class Bundle:
    """Several records with one callback: `then` is called when all of them are acknowledged."""

    __slots__ = ("_failed", "_left", "_producer", "_then", "records", "size")

    def __init__(
        self, producer: KafkaProducer, then: Callable[[], None], failed: Callable[[HookstreamError], None]
    ) -> None:
        self._producer = producer
        self._left = 1
        self.records = self.size = 0
        self._then = then
        self._failed = failed

    def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> None:
        """Enqueue one more record; not allowed after `close`."""
        self._left += 1
        self.records += 1
        self.size += self._producer.enqueue(topic, partition, key, value, headers, self._one, self._failed)

    def close(self) -> None:
        """Declare the bundle complete, so that `then` may be called."""
        self._one(0)

    def _one(self, _offset: int) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


class KafkaProducer:
    """`app.ports.producer.Producer`, and `bundle` for callers on the hot path."""

    def __init__(
        self,
        clients: KafkaClients,
        *,
        client_id: str,
        meter: Meter | None = None,
        linger_s: dict[str, float] | None = None,
        reduce: Reduce = lambda topic, value, headers: None,
    ) -> None:
        """`linger_s`: topic → seconds for which its records may gather into a batch, for topics where latency is
        unimportant. `reduce`: called for records that exceed the topic's maximum size.
        """
        self._clients = clients
        self._client_id = client_id
        self._meter = meter
        self._linger_s = linger_s or {}
        self._reduce = reduce
        self._clock = SystemClock()
        self._producer: AioProducer | None = None
        self._renewing = asyncio.Lock()
        self._channels: dict[tuple[str, int], _Channel] = {}
        self._counts: dict[str, int] = {}
        self._partitions: dict[tuple[int, bytes], int] = {}
        self._bytes = self._records = 0
        self._building = asyncio.Lock()
        #: topics whose last try failed
        self._troubled: set[str] = set()
        self._room = asyncio.Event()
        self._room.set()

    async def start(self, topics: list[str]) -> None:
        """Connect and read the partition counts of `topics`.

        Raises `ConfigError` for those that do not exist, and `RightMissing` for those that Kafka does not show us.
        """
        async with self._clients.connecting():
            self._producer = await self._connect()
            cluster = await self._producer.client.fetch_all_metadata()
            counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
            missing = [topic for topic, count in counts.items() if not count]
            hidden = (await seen_topics(self._producer.client, missing)).hidden if missing else frozenset()
        self._counts |= counts
        if missing:
            await self.close()
        if hidden:
            raise RightMissing(self._clients.hidden(hidden))
        if missing:
            raise missing_topics(missing)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Send the waiting records (for `timeout_s` at most), then disconnect."""
        tasks = [channel.task for channel in self._channels.values() if channel.task]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        producer, self._producer = self._producer, None
        if producer:
            await stop_producer(producer)

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic."""
        return self._counts[topic]

    def partition_for(self, topic: str, key: bytes) -> int:
        """The partition of a key by Kafka's default partitioner (murmur2); cached."""
        count = self._counts[topic]
        partition = self._partitions.get((count, key))
        if partition is None:
            if len(self._partitions) >= _PARTITION_CACHE:
                self._partitions.clear()
            partition = self._partitions[count, key] = (murmur2(key) & 0x7FFFFFFF) % count
        return partition

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> asyncio.Future[int]:
        """See `app.ports.producer.Producer.append`."""
        await self._room.wait()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.enqueue(topic, partition, key, value, headers, resolver(future), rejecter(future))
        return future

    def waits_until_s(self) -> float | None:
        """The time (monotonic) until which Kafka may be the reason for missing acknowledgements; None: none is missing.

        By then each try has ended with a response or an error, and the next one has begun. A channel without a try
        for longer is stuck itself, and no longer excuses the roles that wait for it.
        """
        tries = [channel.tried_s for channel in self._channels.values() if channel.entries]
        return min(tries) + _TRY_S if tries else None

    async def room(self) -> None:
        """Return when the buffer has room. Callers of `bundle` wait here before they accept more work."""
        await self._room.wait()

    def bundle(self, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> Bundle:
        """A group of records. `then` is called when all are acknowledged, `failed` for each that cannot be appended."""
        return Bundle(self, then, failed)

    def enqueue(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders,
        acked: Callable[[int], None],
        failed: Callable[[HookstreamError], None],
    ) -> int:
        """Add one record to its channel without waiting; returns its size. `acked` gets the offset (-1: unknown)."""
        if partition is None:
            partition = self.partition_for(topic, key or b"")
        channel = self._channels.get((topic, partition))
        if channel is None:
            channel = _Channel(topic, partition, self._linger_s.get(topic, 0.0))
            self._channels[topic, partition] = channel
        owned = headers if type(headers) is list else list(headers)
        size = record_size(key, value, owned)
        channel.entries.append(_Entry(key, value, owned, acked, failed, size))
        self._bytes += size
        self._records += 1
        if self._bytes > _ROOM_BYTES or self._records > _ROOM_RECORDS:
            self._room.clear()
        if channel.task is None:
            channel.tried_s = self._clock.monotonic()
            channel.task = asyncio.create_task(self._drain(channel))
        return size

    async def _drain(self, channel: _Channel) -> None:
        try:
            if channel.linger_s:
                await asyncio.sleep(channel.linger_s)
            while channel.entries:
                await self._send_some(channel)
                if channel.linger_s and channel.entries and len(channel.entries) < _BATCH_RECORDS:
                    await asyncio.sleep(channel.linger_s)
        except Exception as error:
            logger.exception("log.channel_failed", topic=channel.topic)
            defect = Defect(f"records for {channel.topic} could not be sent: {error!r}")
            while channel.entries:
                self._fail_first(channel, defect)
        finally:
            channel.task = None

    async def _send_some(self, channel: _Channel) -> None:
        limit, backoff = _BATCH_RECORDS, 0.1
        while True:
            producer, given_up, count = self._alive(), False, 0
            channel.tried_s = self._clock.monotonic()
            try:
                if min(limit, len(channel.entries)) >= _LARGE_RECORDS:
                    await self._turn()
                count, future = await self._submit(producer, channel, limit)
                given_up = True
                offset = (await future).offset
            except (MessageSizeTooLargeError, RecordTooLargeError) as error:
                await self._renew(producer, given_up=given_up)
                if limit == 1 and not self._reduced(channel):
                    size = channel.entries[0].size
                    self._fail_first(channel, RecordTooLarge(f"{size} bytes for {channel.topic}: {error}"))
                    return
                limit = 1
            except InvalidTimestampError as error:  # only events.raw checks timestamps; its callers get the error
                self._note(channel.topic, error)
                await self._renew(producer, given_up=given_up)
                for _ in range(count):
                    self._fail_first(channel, Unavailable("the clock of this process is far ahead of Kafka's"))
                return
            except KafkaError as error:
                self._note(channel.topic, error)
                await self._renew(producer, given_up=given_up)
                await asyncio.sleep(backoff)
                backoff = min(2.0, backoff * 2)
            else:
                self._acknowledge(channel, count, offset)
                return

    async def _turn(self) -> None:
        """Wait for an iteration of the event loop in which no other channel builds a large batch.

        Channels whose batches are acknowledged together would otherwise all build the next ones at once.
        """
        async with self._building:
            await asyncio.sleep(0)

    async def _submit(self, producer: AioProducer, channel: _Channel, limit: int) -> tuple[int, asyncio.Future[Any]]:
        builder = producer.create_batch()
        count = 0
        for entry in channel.entries:
            if count >= limit:
                break
            added = builder.append(key=entry.key, value=entry.value, timestamp=None, headers=entry.headers)
            if added is None:
                break
            count += 1
        if count == 0:
            raise Defect("a batch refused its first record")
        return count, await producer.send_batch(builder, channel.topic, partition=channel.partition)

    def _reduced(self, channel: _Channel) -> bool:
        """Replace the first record by its smaller form; False if there is none."""
        entry = channel.entries[0]
        smaller = self._reduce(channel.topic, entry.value, entry.headers)
        if smaller is None:
            return False
        value, headers = smaller
        logger.error("log.record_reduced", topic=channel.topic, size=entry.size, action="its detail is left out")
        if self._meter:
            self._meter.count("records_reduced_total", topic=channel.topic)
        size = record_size(entry.key, value, headers)
        channel.entries[0] = msgspec.structs.replace(entry, value=value, headers=headers, size=size)
        self._bytes += size - entry.size
        return True

    def _acknowledge(self, channel: _Channel, count: int, offset: int) -> None:
        entries = channel.entries
        self._troubled.discard(channel.topic)
        for index in range(count):
            entry = entries.popleft()
            self._bytes -= entry.size
            self._records -= 1
            entry.acked(offset + index if offset >= 0 else -1)
        self._open_room()

    def _fail_first(self, channel: _Channel, error: HookstreamError) -> None:
        entry = channel.entries.popleft()
        self._bytes -= entry.size
        self._records -= 1
        entry.failed(error)
        self._open_room()

    def _open_room(self) -> None:
        if not self._room.is_set() and self._bytes <= _ROOM_BYTES // 2 and self._records <= _ROOM_RECORDS // 2:
            self._room.set()

    def _note(self, topic: str, error: Exception) -> None:
        """Count the failure, and log the first one of a topic since its last acknowledgement."""
        if isinstance(error, Replaced):  # the consequence of another channel's failure, which is counted there
            return
        if topic not in self._troubled:
            self._troubled.add(topic)
            logger.warning("log.append_failed", topic=topic, error=repr(error), action="retry until acknowledged")
        if self._meter:
            self._meter.count("producer_errors_total", topic=topic, error=type(error).__name__)

    def _alive(self) -> AioProducer:
        if self._producer is None:
            raise Defect("the producer is closed")
        return self._producer

    async def _renew(self, producer: AioProducer, *, given_up: bool) -> None:
        """Replace a producer whose sender task has ended, or that has given up a batch.

        aiokafka has assigned sequence numbers to the batch that it gave up. The broker refuses every later batch of
        the same producer, because of the gap.
        """
        sender = producer._sender.sender_task
        if sender is not None and not sender.done() and not given_up:
            return
        async with self._renewing:
            if self._producer is not producer:
                return
            logger.info("log.producer_renewed", reason="a batch was given up" if given_up else "its sender task ended")
            await stop_producer(producer)
            while self._producer is producer:
                try:
                    self._producer = await self._connect()
                except KafkaError as error:
                    logger.debug("log.not_connected", error=repr(error))
                    await asyncio.sleep(0.5)

    async def _connect(self) -> AioProducer:
        producer = self._clients.producer(
            self._client_id,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=30_000,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
        )
        try:
            await producer.start()
        except BaseException:
            await stop_producer(producer)
            raise
        return producer
