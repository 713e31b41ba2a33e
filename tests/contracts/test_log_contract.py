"""What every log keeps to, on the fake and on a real broker: order, offsets, bundles, keys, and records too large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.clock import SystemClock
from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.producer import KafkaProducer
from app.core.errors import HookstreamError
from app.core.topics.declarations import TopicSpec
from app.core.topics.drift import CreateTopic
from app.ports.consumer import Record
from tests.conftest import BROKER_USER
from tests.fakes.clock import Pulse
from tests.fakes.log import MemoryLog
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

PARTITIONS = 3
MAX_BYTES = 100_000


class Bench:
    """A log with one topic, and a way to read it."""

    def __init__(self, log: MemoryLog | KafkaProducer, topic: str, bootstrap: str | None = None) -> None:
        self.log = log
        self.topic = topic
        self._bootstrap = bootstrap

    async def read(self) -> dict[int, Sequence[Record]]:
        """Every partition from its beginning to its end."""
        if isinstance(self.log, MemoryLog):
            return {number: self.log.partitions[self.topic, number] for number in range(PARTITIONS)}
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            found: dict[int, Sequence[Record]] = {}
            for place, end in (await consumer.end_offsets(places)).items():
                records: list[Record] = []
                while await consumer.position(place) < end:
                    records += (await consumer.getmany(place, timeout_ms=1000)).get(place, [])
                found[place.partition] = records
            return found
        finally:
            await consumer.stop()


class Ending:
    """How a bundle ended."""

    def __init__(self) -> None:
        self.done = 0
        self.failures: list[HookstreamError] = []
        self._pulse = Pulse()

    def then(self) -> None:
        self.done += 1
        self._pulse.beat()

    def failed(self, error: HookstreamError) -> None:
        self.failures.append(error)
        self._pulse.beat()

    async def come(self) -> None:
        """Wait for either."""
        await self._pulse.until(lambda: bool(self.done or self.failures))


@pytest.fixture(params=["memory", "kafka"])
async def bench(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Bench(MemoryLog(SystemClock(), partitions=PARTITIONS, max_bytes=MAX_BYTES), "topic")
        return
    bootstrap = request.getfixturevalue("broker").bootstrap
    request.node.user_properties.append(BROKER_USER)
    topic = f"{prefix}topic"
    spec = TopicSpec(
        logical=topic, name=topic, partitions=PARTITIONS, replication=1, config={"max.message.bytes": str(MAX_BYTES)}
    )
    async with KafkaAdmin(clients_at(bootstrap)) as admin:
        await admin.apply([CreateTopic(spec)])
    log = KafkaProducer(clients_at(bootstrap), client_id="test")
    await log.start([topic])
    try:
        yield Bench(log, topic, bootstrap)
    finally:
        await log.close()


async def test_the_records_of_a_partition_keep_the_order_of_their_appends(bench: Bench) -> None:
    acks = [
        await bench.log.append(bench.topic, key=None, value=b"%d" % serial, partition=serial % PARTITIONS)
        for serial in range(3000)
    ]
    await asyncio.gather(*acks)
    read = await bench.read()
    assert {number: [int(record.value or b"") for record in records] for number, records in read.items()} == {
        number: list(range(number, 3000, PARTITIONS)) for number in range(PARTITIONS)
    }


async def test_an_acknowledgement_is_the_records_offset(bench: Bench) -> None:
    acks = [await bench.log.append(bench.topic, key=None, value=b"%d" % n, partition=1) for n in range(300)]
    offsets = await asyncio.gather(*acks)
    assert {record.offset: record.value for record in (await bench.read())[1]} == {
        offset: b"%d" % serial for serial, offset in enumerate(offsets)
    }
    assert list(offsets) == list(range(300))


async def test_key_value_and_headers_arrive_as_they_were_given(bench: Bench) -> None:
    headers = [("a", b"1"), ("b", b"\x00\xff"), ("a", b"2")]
    await (await bench.log.append(bench.topic, key=b"k", value=b"\x00v", headers=headers, partition=0))
    await (await bench.log.append(bench.topic, key=b"gone", value=None, partition=0))
    first, tombstone = (await bench.read())[0]
    assert (first.topic, first.partition, first.key, first.value) == (bench.topic, 0, b"k", b"\x00v")
    assert list(first.headers) == headers
    assert (tombstone.key, tombstone.value, list(tombstone.headers)) == (b"gone", None, [])
    assert abs(SystemClock().now_ms() - first.timestamp) < 60_000


async def test_equal_keys_share_a_partition_and_other_keys_use_the_rest(bench: Bench) -> None:
    for _ in range(2):
        for acked in [await bench.log.append(bench.topic, key=b"k%d" % n, value=b"") for n in range(50)]:
            await acked
    where: dict[bytes, set[int]] = {}
    for number, records in (await bench.read()).items():
        for record in records:
            where.setdefault(record.key or b"", set()).add(number)
    assert all(len(numbers) == 1 for numbers in where.values())
    assert set().union(*where.values()) == set(range(PARTITIONS))


async def test_a_bundle_is_done_once_when_all_records_are_acknowledged(bench: Bench) -> None:
    ending = Ending()
    bundle = bench.log.bundle(ending.then, ending.failed)
    for serial in range(100):
        bundle.append(bench.topic, key=b"k%d" % serial, value=b"v")
    assert not ending.done
    bundle.close()
    await ending.come()
    assert sum(len(records) for records in (await bench.read()).values()) == 100
    await (await bench.log.append(bench.topic, key=None, value=b"", partition=0))
    assert (ending.done, ending.failures) == (1, [])


async def test_a_bundle_waits_for_its_close(bench: Bench) -> None:
    ending = Ending()
    bundle = bench.log.bundle(ending.then, ending.failed)
    bundle.append(bench.topic, key=None, value=b"v", partition=0)
    await (await bench.log.append(bench.topic, key=None, value=b"behind it", partition=0))
    before = ending.done
    bundle.close()
    assert (before, ending.done) == (0, 1)


async def test_a_bundle_without_records_is_done_at_its_close(bench: Bench) -> None:
    ending = Ending()
    bench.log.bundle(ending.then, ending.failed).close()
    await ending.come()
    assert (ending.done, ending.failures) == (1, [])


async def test_a_record_that_is_too_large_fails_and_those_around_it_arrive(bench: Bench) -> None:
    sizes = [10, 10, MAX_BYTES + 1000, 10, 10]
    acks = [await bench.log.append(bench.topic, key=None, value=bytes(size), partition=0) for size in sizes]
    answers = await asyncio.gather(*acks, return_exceptions=True)
    assert [isinstance(answer, HookstreamError) for answer in answers] == [False, False, True, False, False]
    assert [len(record.value or b"") for record in (await bench.read())[0]] == [10, 10, 10, 10]


async def test_a_bundle_with_a_record_that_is_too_large_fails_and_is_never_done(bench: Bench) -> None:
    ending = Ending()
    bundle = bench.log.bundle(ending.then, ending.failed)
    bundle.append(bench.topic, key=None, value=b"v", partition=0)
    bundle.append(bench.topic, key=None, value=bytes(MAX_BYTES + 1000), partition=0)
    bundle.append(bench.topic, key=None, value=b"w", partition=0)
    bundle.close()
    await ending.come()
    await (await bench.log.append(bench.topic, key=None, value=b"behind it", partition=0))
    assert ending.done == 0
    assert len(ending.failures) == 1


async def test_room_returns_at_once_with_an_empty_buffer(bench: Bench) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await bench.log.room()
