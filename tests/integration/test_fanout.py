"""Fan-out on a real broker under attack: tables deleted, group reset, batches failing, workers coming and going.

Stock Faust loses records in each of these; the rules in adapters/faust/app.py say why ours must not.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.clock import SystemClock
from app.adapters.faust.batch_track import BatchTrack, backlogged
from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.errors import Unavailable
from app.core.model.endpoint import Endpoint
from app.core.topics.drift import plan
from app.core.topics.names import TopicName
from app.ports.stream import StreamBatch
from app.roles.fanout.role import FanoutRole
from app.runtime.build.streams import fanout_role
from app.runtime.supervisor import Supervisor
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.conftest import RealBroker
from tests.kafka import clients_at
from tests.patience import PATIENCE_S
from tests.shared import shared_by

PARTITIONS = 4


class Bench:
    """One installation with two endpoints, and workers that can be made and unmade."""

    def __init__(self, bootstrap: str, settings: Settings, log: KafkaProducer, feed: KafkaDirectoryFeed) -> None:
        self.bootstrap = bootstrap
        self.settings = settings
        self.topics = topics_of(settings)
        self.log = log
        self.feed = feed
        self.meter = PrometheusMeter()
        self.group = f"{settings.topic_prefix}hookstream.fanout"
        self.sent = 0

    def role(self, folder: str) -> FanoutRole:
        """A fresh worker with a table folder of its own."""
        settings = msgspec.structs.replace(self.settings, data_dir=self.settings.data_dir / folder)
        return fanout_role(shared_by(settings, clients_at(self.bootstrap), self.log, self.feed, self.meter))

    @asynccontextmanager
    async def worker(self, folder: str, make: Callable[[], Any] | None = None) -> AsyncIterator[Supervisor]:
        """A worker under the supervisor, ready."""
        running = Supervisor({"fanout": make or (lambda: self.role(folder))}, SystemClock(), self.meter)
        running.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while running.readiness()["fanout"] is not None:
                    await SystemClock().sleep(0.02)
            yield running
        finally:
            assert await running.stop(PATIENCE_S)

    async def append(self, number: int, *, ordered: bool = False) -> None:
        """So many more events, acknowledged."""
        acks = []
        for serial in range(self.sent, self.sent + number):
            event = {"type": "a.b", "id": f"evt_{serial}", "data": {"n": serial}}
            if ordered:
                event["ordering_key"] = f"key_{serial % 7}"
            key = b"k%d" % (serial % 7 if ordered else serial % 50)
            acks.append(
                await self.log.append(self.topics.name(TopicName.EVENTS_RAW), key=key, value=msgspec.json.encode(event))
            )
        await asyncio.gather(*acks)
        self.sent += number

    async def reset_group(self) -> None:
        """What `kafka-consumer-groups.sh --reset-offsets --to-earliest` does."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False)
        await consumer.start()
        places = [TopicPartition(self.topics.name(TopicName.EVENTS_RAW), number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, 0))
        await consumer.stop()

    async def committed_everything(self) -> None:
        """Wait until the group's commits have reached the end."""
        topic = self.topics.name(TopicName.EVENTS_RAW)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False)
        await consumer.start()
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        ends = await consumer.end_offsets(places)
        try:
            async with asyncio.timeout(PATIENCE_S):
                for place in places:
                    while (await consumer.committed(place) or 0) < ends[place]:
                        await SystemClock().sleep(0.1)
        finally:
            await consumer.stop()


class Tap:
    """Reads `deliveries` from its beginning, and remembers."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.records: list[dict[str, str]] = []

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        """Read until the condition holds."""
        consumer = AIOKafkaConsumer(
            self._bench.topics.name(TopicName.DELIVERIES),
            bootstrap_servers=self._bench.bootstrap,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        self.records.clear()
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            headers = {name: value.decode() for name, value in record.headers}
                            self.records.append({"endpoint": record.key.decode(), **headers})
        finally:
            await consumer.stop()

    def counts(self) -> Counter[tuple[str, str, str]]:
        """(event, endpoint, replay) → how often."""
        return Counter((each["event-id"], each["endpoint"], each.get("replay-id", "")) for each in self.records)

    def complete(self) -> bool:
        """Whether each event has reached both endpoints, outside of replays."""
        seen = {(event, endpoint) for event, endpoint, replay in self.counts() if not replay}
        return len(seen) >= 2 * self._bench.sent

    def replayed(self) -> int:
        """How many events have come again in replays."""
        return len({event for event, _, replay in self.counts() if replay})


@asynccontextmanager
async def bench(broker: RealBroker, prefix: str, folder: Path) -> AsyncIterator[Bench]:
    settings = Settings(topic_prefix=prefix, partitions=PARTITIONS, replication_factor=1, data_dir=folder)
    topics = topics_of(settings)
    async with KafkaAdmin(clients_at(broker.bootstrap)) as admin:
        await admin.apply(plan(topics, await admin.actual(topics)))
    directory = Directory()
    for number in range(2):
        directory.put_endpoint(
            Endpoint(
                id=f"ep_{number}",
                tenant="default",
                mode="live",
                url="https://example.com/",
                events=("*",),
                profile="standard",
            )
        )
    log = KafkaProducer(clients_at(broker.bootstrap), client_id="test")
    feed = KafkaDirectoryFeed(
        clients_at(broker.bootstrap), topics.name(TopicName.REGISTRY), client_id="test", directory=directory
    )
    await log.start(topics.all_names())
    await feed.start()
    try:
        yield Bench(broker.bootstrap, settings, log, feed)
    finally:
        await feed.stop()
        await log.close()


async def test_deleted_tables_and_a_reset_group_lose_nothing_and_are_a_replay(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with bench(broker, prefix, tmp_path) as running:
        tap = Tap(running)
        async with running.worker("one"):
            await running.append(3000, ordered=True)
            await tap.until(tap.complete)
            await running.committed_everything()
        before = {(each["event-id"], each["endpoint"]): each["sequence"] for each in tap.records}
        for _ in range(2):
            shutil.rmtree(tmp_path / "one")
            await running.reset_group()
            async with running.worker("one"):
                await running.append(500, ordered=True)
                await tap.until(lambda: tap.complete() and tap.replayed() >= running.sent - 500)
                await running.committed_everything()
        again = {(each["event-id"], each["endpoint"]): each["sequence"] for each in tap.records}
        assert before.items() <= again.items(), "a replay has other sequences"
        assert all(number == 1 for number in tap.counts().values()), "sent twice without a crash"
        sequences: dict[str, set[int]] = {}
        for each in tap.records:
            sequences.setdefault(each["ordering-key"], set()).add(int(each["sequence"]))
        assert all(found == set(range(1, len(found) + 1)) for found in sequences.values()), "gaps"


async def test_a_failed_batch_is_repeated_by_a_new_app(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with bench(broker, prefix, tmp_path) as running:
        failures = 0

        def faulty() -> FanoutRole:
            role = running.role("one")
            handle = role._handle

            async def handle_or_fail(batch: StreamBatch) -> None:
                nonlocal failures
                if failures < 2 and any(b'"evt_500"' in (record.value or b"") for record in batch.records):
                    failures += 1
                    raise Unavailable("a failure in the middle")
                await handle(batch)

            role._handle = handle_or_fail  # type: ignore[method-assign]
            return role

        tap = Tap(running)
        async with running.worker("one", faulty):
            await running.append(1000)
            await tap.until(tap.complete)
            await running.append(1000)
            await tap.until(tap.complete)
            await running.committed_everything()
        assert failures == 2


async def test_workers_that_join_and_leave_lose_no_event(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with bench(broker, prefix, tmp_path) as running:
        tap = Tap(running)
        stop = asyncio.Event()

        async def traffic() -> None:
            while not stop.is_set() and running.sent < 20_000:
                await running.append(50)
                await SystemClock().sleep(0.05)

        async with running.worker("one"):
            flowing = asyncio.create_task(traffic())
            for _ in range(2):
                async with running.worker("two"):
                    seen = running.sent
                    while running.sent < seen + 300 and not flowing.done():
                        await SystemClock().sleep(0.02)
            stop.set()
            await flowing
            await tap.until(tap.complete)
        assert not [each for each in tap.records if "replay-id" in each], "a rebalance was taken for a replay"


async def test_duplicates_of_a_producer_stay_out_when_the_tables_come_from_the_changelog(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with bench(broker, prefix, tmp_path) as running:
        tap = Tap(running)
        async with running.worker("one"):
            await running.append(300)
            await tap.until(tap.complete)
            await running.committed_everything()
        shutil.rmtree(tmp_path / "one")
        running.sent = 0
        async with running.worker("one"):
            await running.append(301)  # 300 of them for the second time
            await tap.until(tap.complete)
            await running.committed_everything()
        assert all(number == 1 for number in tap.counts().values())
        assert 'events_ingested_total{result="duplicate"} 300.0' in running.meter.exposition().decode()


def test_commits_never_pass_an_open_batch() -> None:
    track = BatchTrack()
    assert track.committable() is None
    track.delivered(101, 110)
    track.delivered(111, 120)
    track.done(120, 121)
    assert track.committable() == 101
    track.done(110, 107)
    assert track.committable() == 107, "a part of a batch"
    track.done(110, 111)
    assert track.committable() == 121
    track.delivered(150, 160)  # a gap (transaction markers, compaction)
    assert track.committable() == 150
    track.delivered(100, 105)  # reading went back
    assert track.committable() == 100
    track.done(160, 161)
    assert track.committable() == 100
    track.done(105, 106)
    assert track.committable() == 106


def test_reading_of_a_partition_pauses_above_the_limit_of_unfinished_batches() -> None:
    tracks = {"busy": BatchTrack(), "large": BatchTrack(), "idle": BatchTrack()}
    tracks["busy"].delivered(0, 3999, 4000, 10)
    tracks["large"].delivered(0, 9, 10, 4 << 20)
    assert backlogged(tracks) == {"busy", "large"}
    tracks["busy"].done(3999, 2000)
    assert backlogged(tracks) == {"busy", "large"}, "until the batch is finished"
    tracks["busy"].done(3999, 4000)
    assert backlogged(tracks) == {"large"}
    tracks["busy"].delivered(4000, 4000, 1, 10)
    tracks["large"].delivered(10, 19, 10, 60 << 20)
    assert backlogged(tracks) == {"busy", "large"}, (
        "together they exceed the limit: only partitions without unfinished batches are read"
    )
