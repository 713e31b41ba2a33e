"""A small stream processor over the Faust base, its topics, and the means to count what it has done.

As a program (`python -m tests.integration.faust_kit BOOTSTRAP PREFIX FOLDER STORE`) it works until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.adapters.faust_app import BatchApp, build_app
from app.adapters.kafka_log import KafkaLog
from app.ports import StreamBatch

PARTITIONS = 3


class Names:
    """The topics and the group below a prefix."""

    def __init__(self, prefix: str) -> None:
        self.events = f"{prefix}events"
        self.out = f"{prefix}out"
        self.group = f"{prefix}group"

    def changelog(self, table: str) -> str:
        """A table's changelog."""
        return f"{self.group}-{table}-changelog"


async def make_topics(bootstrap: str, names: Names) -> None:
    """Create all topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    topics = [names.events, names.out, names.changelog("seen")]
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    await admin.close()


class Copier:
    """Copies each event to `out`, and remembers its offset in the table `seen`."""

    def __init__(self, log: KafkaLog, names: Names, *, fail_at: int | None = None) -> None:
        self._log = log
        self._names = names
        self._fail_at = fail_at
        self._tasks: set[asyncio.Task[None]] = set()
        self.handled = 0
        #: what the table said when an event came: key → offsets, as text
        self.known: dict[bytes, bytes] = {}
        self.batches: list[StreamBatch] = []
        self.moved = asyncio.Condition()

    async def handle(self, batch: StreamBatch) -> None:
        """See `app.ports.StreamApp.run`."""
        if self._fail_at is not None and self.handled + len(batch.records) > self._fail_at:
            raise RuntimeError("on purpose")
        await self._log.room()
        acked = asyncio.get_running_loop().create_future()
        bundle = self._log.bundle(lambda: acked.set_result(None), acked.set_exception)
        changelog, items = batch.tables.changelog("seen"), {}
        for record in batch.records:
            assert record.key is not None
            known = batch.tables.read("seen", record.key)
            if known is not None:
                self.known[record.key] = known
            items[record.key] = b"%d" % record.offset
            bundle.append(changelog, key=record.key, value=items[record.key], partition=batch.partition)
            bundle.append(self._names.out, key=record.key, value=record.value)
        batch.tables.write("seen", items)
        bundle.close()
        self.batches.append(batch)
        task = asyncio.create_task(self._finish(batch, acked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, batch: StreamBatch, acked: asyncio.Future[None]) -> None:
        await acked
        await batch.ack()
        async with self.moved:
            self.handled += len(batch.records)
            self.moved.notify_all()

    async def reached(self, handled: int) -> None:
        """Return when so many events were acknowledged."""
        async with self.moved:
            await self.moved.wait_for(lambda: self.handled >= handled)


def build(
    bootstrap: str, names: Names, folder: Path, store: str = "rocksdb", client: str = "worker", **options: Any
) -> BatchApp:
    """The app that a `Copier` handles batches of."""
    return build_app(
        group=names.group,
        bootstrap=bootstrap,
        source_topic=names.events,
        partitions=PARTITIONS,
        data_dir=folder,
        client_id=client,
        store=cast(Literal["rocksdb", "memory"], store),
        tables=["seen"],
        changelog_topic=names.changelog,
        **options,
    )


@asynccontextmanager
async def open_log(bootstrap: str, names: Names) -> Any:
    """A log for the topics of `names`."""
    log = KafkaLog(bootstrap, client_id="test")
    await log.start([names.events, names.out, names.changelog("seen")])
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def running(app: BatchApp, handle: Callable[[StreamBatch], Awaitable[None]]) -> Any:
    """The app at work; a failure of it surfaces at the end."""
    task = asyncio.create_task(app.run(handle))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def produce(log: KafkaLog, names: Names, first: int, count: int) -> None:
    """Append events whose keys are their numbers, and wait until they are there."""
    futures = [
        await log.append(names.events, key=b"%d" % number, value=b"x" * 100) for number in range(first, first + count)
    ]
    await asyncio.gather(*futures)


async def read_all(bootstrap: str, topic: str) -> Counter[bytes]:
    """How often each key is in a topic by now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    found: Counter[bytes] = Counter()
    while any([await consumer.position(place) < ends[place] for place in places]):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found.update(record.key for record in records)
    await consumer.stop()
    return found


async def committed(bootstrap: str, names: Names) -> dict[int, int]:
    """What the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    found = await admin.list_consumer_group_offsets(names.group)
    await admin.close()
    return {place.partition: said.offset for place, said in found.items()}


async def reset(bootstrap: str, names: Names) -> None:
    """Set the group, which must be stopped, back to the beginning."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=names.group, enable_auto_commit=False)
    await consumer.start()
    places = [TopicPartition(names.events, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.commit(dict.fromkeys(places, 0))
    await consumer.stop()


async def _work(bootstrap: str, prefix: str, folder: str, store: str) -> None:
    names = Names(prefix)
    async with open_log(bootstrap, names) as log:
        await build(bootstrap, names, Path(folder), store).run(Copier(log, names).handle)


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:5]))
