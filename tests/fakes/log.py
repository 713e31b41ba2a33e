"""Topics in memory: `app.ports.producer.GroupingProducer` whose acknowledgements a test holds back, and
whose records it reads."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from app.core.errors import HookstreamError, RecordTooLarge
from app.core.offsets.partitions import PartitionId
from app.ports.clock import Clock
from app.ports.producer import RecordHeaders
from tests.fakes.clock import Pulse


class MemoryRecord(NamedTuple):
    """`app.ports.consumer.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    def header(self, name: str) -> str | None:
        """The header of that name, as text."""
        return next((text.decode() for key, text in self.headers if key == name), None)


class MemoryBundle:
    """`app.ports.producer.AckGroup`."""

    def __init__(self, log: MemoryLog, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> None:
        self._log = log
        self._then = then
        self._failed = failed
        self._left = 1
        self.records = self.size = 0

    def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> None:
        self._left += 1
        self.records += 1
        self.size += len(key or b"") + len(value or b"")
        self._log.enqueue(topic, key, value, headers, partition, self._one, self._failed)

    def close(self) -> None:
        self._one(0)

    def _one(self, _offset: int) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


class MemoryLog:
    """All topics, each with the same number of partitions."""

    def __init__(self, clock: Clock, *, partitions: int = 4, max_bytes: int = 1_000_000) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self.count = partitions
        self.partitions: dict[PartitionId, list[MemoryRecord]] = defaultdict(list)
        self._by_topic: dict[str, list[MemoryRecord]] = defaultdict(list)
        self._held: dict[str, list[Callable[[], None]]] = {}
        self._failing: dict[str, HookstreamError] = {}
        self._room = asyncio.Event()
        self._room.set()
        self.pulse = Pulse()

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> asyncio.Future[int]:
        await self._room.wait()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.enqueue(topic, key, value, headers, partition, future.set_result, future.set_exception)
        return future

    def bundle(self, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> MemoryBundle:
        return MemoryBundle(self, then, failed)

    async def room(self) -> None:
        await self._room.wait()

    def enqueue(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders,
        partition: int | None,
        acked: Callable[[int], None],
        failed: Callable[[HookstreamError], None],
    ) -> None:
        """Store one record; its acknowledgement comes from the loop, never from inside this call."""
        error = self._failing.pop(topic, None)
        if error is None and len(value or b"") > self._max_bytes:
            error = RecordTooLarge(f"{len(value or b'')} bytes for {topic}")
        loop = asyncio.get_running_loop()
        if error is not None:
            loop.call_soon(failed, error)
            return
        offset = self.put(topic, key=key, value=value, headers=headers, partition=partition).offset
        if topic in self._held:
            self._held[topic].append(lambda: acked(offset))
        else:
            loop.call_soon(acked, offset)

    # --- for tests ----------------------------------------------------------------------------------------------

    def put(
        self,
        topic: str,
        *,
        key: bytes | None = None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> MemoryRecord:
        """A record of somebody else."""
        number = crc32(key or b"") % self.count if partition is None else partition
        entries = self.partitions[topic, number]
        at = self._clock.now_ms() if timestamp is None else timestamp
        record = MemoryRecord(topic, number, len(entries), at, key, value, list(headers))
        entries.append(record)
        self._by_topic[topic].append(record)
        self.pulse.beat()
        return record

    def of(self, topic: str) -> list[MemoryRecord]:
        """What the topic has, in the order of arrival."""
        return list(self._by_topic[topic])

    async def seen(self, topic: str, number: int) -> list[MemoryRecord]:
        """Wait until the topic has that many records."""
        await self.pulse.until(lambda: len(self._by_topic[topic]) >= number)
        return self.of(topic)

    def hold(self, *topics: str) -> None:
        """Acknowledge nothing of these until `release`."""
        for topic in topics:
            self._held.setdefault(topic, [])

    def release(self, topic: str) -> None:
        """Acknowledge what was held, in order, and all that follows."""
        for acknowledge in self._held.pop(topic):
            asyncio.get_running_loop().call_soon(acknowledge)

    def fail(self, topic: str, error: HookstreamError) -> None:
        """The next record for the topic can never be written."""
        self._failing[topic] = error

    def crowd(self, full: bool) -> None:
        """Whether the buffer is full."""
        if full:
            self._room.clear()
        else:
            self._room.set()
