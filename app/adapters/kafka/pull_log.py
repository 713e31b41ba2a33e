"""Reads deliveries.pull for many pull endpoints over few connections, and commits in a group for each endpoint.

A group has no members: its offsets are set and read from outside, as `kafka-consumer-groups.sh --reset-offsets` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.commit import OffsetCommitRequest

from app.adapters.kafka.clients import AioAdmin, AioConsumer, KafkaClients
from app.adapters.kafka.coordinators import with_coordinator
from app.core.errors import Unavailable
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.pulls import PullCommit, PullScan

#: scans at the same time: each has a connection of its own
READERS = 4
#: records and bytes that one scan examines, and seconds that it takes
MAX_SCANNED, MAX_SCANNED_BYTES, SCAN_S = 20_000, 16 * 1024 * 1024, 5.0
#: seconds between two questions for the ends of the partitions for which requests wait
LOOK_S = 0.25
_POLL_MS, _POLLED = 200, 500
_FETCH_BYTES = 512 * 1024


class KafkaPullLog:
    """`app.ports.pulls.PullLog` on Kafka; connects at the first call."""

    def __init__(self, clients: KafkaClients, *, client_id: str, topic: str, group_prefix: str, clock: Clock) -> None:
        """`group_prefix`: the name of an endpoint's group is this and the endpoint's id."""
        self._clients = clients
        self._client_id = client_id
        self._topic = topic
        self._group_prefix = group_prefix
        self._clock = clock
        self._free = asyncio.Semaphore(READERS)
        self._idle: list[AioConsumer] = []
        self._connecting = asyncio.Lock()
        self._asker: AioConsumer | None = None
        self._admin: AioAdmin | None = None
        #: partition → those who wait for its end to move
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._ends: dict[int, int] = {}
        self._watching: asyncio.Task[None] | None = None

    async def scan(self, partition: int, offset: int, *, key: bytes, limit: int, max_bytes: int) -> PullScan:
        """See `app.ports.pulls.PullLog`."""
        place = TopicPartition(self._topic, partition)
        async with self._free, self._reader() as reader:
            begin = int((await reader.beginning_offsets([place]))[place])
            end = int((await reader.end_offsets([place]))[place])
            start = offset if begin <= offset <= end else begin
            matching: list[Record] = []
            position = start
            if start < end:
                position = await self._read(reader, place, (start, end), matching, key, limit, max_bytes)
            return PullScan(records=matching, next_offset=position, begin=begin, end=end, truncated=start != offset)

    async def _read(
        self,
        reader: AioConsumer,
        place: TopicPartition,
        span: tuple[int, int],
        matching: list[Record],
        key: bytes,
        limit: int,
        max_bytes: int,
    ) -> int:
        """Collect records of the key in `matching`. Returns the offset behind the last one that was examined."""
        position, end = span
        reader.assign([place])
        reader.seek(place, position)
        scanned = scanned_bytes = size = 0
        deadline_s = self._clock.monotonic() + SCAN_S
        try:
            while position < end:
                polled = await reader.getmany(place, timeout_ms=_POLL_MS, max_records=_POLLED)
                for record in polled.get(place, ()):
                    length = len(record.value or b"")
                    if record.key == key:
                        if matching and (len(matching) >= limit or size + length > max_bytes):
                            return int(record.offset)
                        matching.append(record)
                        size += length
                    scanned, scanned_bytes = scanned + 1, scanned_bytes + length
                    position = record.offset + 1
                position = max(position, int(await reader.position(place)))
                if len(matching) >= limit or scanned >= MAX_SCANNED or scanned_bytes >= MAX_SCANNED_BYTES:
                    return position
                if self._clock.monotonic() >= deadline_s:
                    return position
            return position
        except OffsetOutOfRangeError:
            return position  # retention was faster: the next scan begins at the first record
        finally:
            reader.pause(place)

    async def offset_at(self, partition: int, timestamp_ms: int) -> int:
        """See `app.ports.pulls.PullLog`."""
        asker, place = await self._ask(), TopicPartition(self._topic, partition)
        with self._clients.reachable():
            first = (await asker.offsets_for_times({place: timestamp_ms}))[place]
            return int(first.offset) if first is not None else int((await asker.end_offsets([place]))[place])

    async def end(self, partition: int) -> int:
        """See `app.ports.pulls.PullLog`."""
        asker, place = await self._ask(), TopicPartition(self._topic, partition)
        with self._clients.reachable():
            return int((await asker.end_offsets([place]))[place])

    async def grown(self, partition: int, end: int, timeout_s: float) -> bool:
        """See `app.ports.pulls.PullLog`."""
        woken = asyncio.Event()
        self._waiting.setdefault(partition, set()).add(woken)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._watching is None:
                        self._watching = asyncio.create_task(self._watch())
                    watching = self._watching
                    woken.clear()
                    if self._ends.get(partition, 0) > end:
                        return True
                    await woken.wait()
                    if watching.done() and not watching.cancelled() and (error := watching.exception()) is not None:
                        raise error
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting[partition]
            waiting.discard(woken)
            if not waiting:
                del self._waiting[partition]
                self._ends.pop(partition, None)

    async def _watch(self) -> None:
        """Ask for the ends of all partitions for which requests wait, as long as there are any."""
        try:
            asker = await self._ask()
            while self._waiting:
                places = [TopicPartition(self._topic, number) for number in self._waiting]
                with self._clients.reachable():
                    ends = await asker.end_offsets(places)
                for place, end in ends.items():
                    if place.partition in self._waiting and end > self._ends.get(place.partition, -1):
                        self._ends[place.partition] = int(end)
                        self._wake(place.partition)
                await asyncio.sleep(LOOK_S)
        finally:
            self._watching = None
            for number in self._waiting:
                self._wake(number)

    def _wake(self, partition: int) -> None:
        for woken in self._waiting[partition]:
            woken.set()

    async def committed(self, endpoint_id: str) -> Mapping[int, PullCommit]:
        """See `app.ports.pulls.PullLog`."""
        admin, group = await self._administrator(), self._group_prefix + endpoint_id
        with self._clients.reachable():
            offsets = await with_coordinator(lambda: admin.list_consumer_group_offsets(group))
        return {
            place.partition: PullCommit(offset=int(commit.offset), at_ms=_time_in(commit.metadata))
            for place, commit in offsets.items()
            if place.topic == self._topic and commit.offset >= 0
        }

    async def commit(self, endpoint_id: str, partition: int, offset: int) -> None:
        """See `app.ports.pulls.PullLog`."""
        admin, group = await self._administrator(), self._group_prefix + endpoint_id
        metadata = str(self._clock.now_ms())
        request = OffsetCommitRequest(
            group,
            OffsetCommitRequest.DEFAULT_GENERATION_ID,
            "",
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            [(self._topic, [(partition, offset, metadata)])],
        )
        with self._clients.reachable():
            coordinator = await with_coordinator(lambda: admin.find_coordinator(group))
            response = await admin._send_request(request, coordinator)
        ((_, ((_, code),)),) = response.topics
        if code:
            error = for_code(code)
            raise Unavailable(f"Kafka refuses the commit of group {group}: {error.__name__}")

    async def stop(self) -> None:
        """Disconnect."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        consumers, self._idle = self._idle, []
        if self._asker is not None:
            consumers.append(self._asker)
        await asyncio.gather(*(each.stop() for each in consumers), return_exceptions=True)
        if self._admin is not None:
            await self._admin.close()

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AioConsumer]:
        """A consumer for one scan at a time; after a failure it is not used again."""
        with self._clients.reachable():
            reader = self._idle.pop() if self._idle else await self._connected()
            try:
                yield reader
            except BaseException:
                await asyncio.shield(reader.stop())
                raise
            self._idle.append(reader)

    async def _ask(self) -> AioConsumer:
        async with self._connecting:
            if self._asker is None:
                with self._clients.reachable():
                    self._asker = await self._connected()
            return self._asker

    async def _connected(self) -> AioConsumer:
        consumer = self._clients.consumer(
            self._client_id, max_partition_fetch_bytes=_FETCH_BYTES, fetch_max_wait_ms=100, auto_offset_reset="none"
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _administrator(self) -> AioAdmin:
        async with self._connecting:
            if self._admin is None:
                admin = self._clients.admin(self._client_id)
                try:
                    with self._clients.reachable():
                        await admin.start()
                except (Unavailable, KafkaError):
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin


def _time_in(metadata: str | None) -> int | None:
    return int(metadata) if metadata and metadata.isascii() and metadata.isdigit() and len(metadata) < 16 else None
