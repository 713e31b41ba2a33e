"""What every reader of single records keeps to, on the fake and on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from app.adapters.clock import SystemClock
from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.kafka.record_reader import KafkaRecordReader
from app.core.topics.declarations import TopicSpec
from app.core.topics.drift import CreateTopic
from app.ports.history import RecordReader
from app.ports.producer import Producer
from tests.conftest import RealBroker
from tests.fakes.log import MemoryLog
from tests.fakes.records import MemoryRecords
from tests.kafka import clients_at

Bench = tuple[Producer, RecordReader, str]


@pytest.fixture(params=["memory", "kafka"])
async def bench(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        memory = MemoryLog(SystemClock(), partitions=2)
        yield memory, MemoryRecords(memory), "events"
        return
    broker: RealBroker = request.getfixturevalue("broker")
    topic = f"{prefix}events"
    spec = TopicSpec(logical="events", name=topic, partitions=2, replication=1, config={})
    async with KafkaAdmin(clients_at(broker.bootstrap)) as admin:
        await admin.apply([CreateTopic(spec)])
    log, reader = (
        KafkaProducer(clients_at(broker.bootstrap), client_id="test"),
        KafkaRecordReader(clients_at(broker.bootstrap), client_id="test"),
    )
    await log.start([topic])
    try:
        yield log, reader, topic
    finally:
        await reader.stop()
        await log.close()


async def filled(bench: Bench, number: int, partition: int, value: Callable[[int], bytes]) -> None:
    log, _, topic = bench
    acks = [await log.append(topic, key=None, value=value(each), partition=partition) for each in range(number)]
    for ack in acks:
        await ack


async def test_records_are_read_by_coordinates_and_missing_ones_are_left_out(bench: Bench) -> None:
    await filled(bench, 1200, 0, lambda each: b"zero %d" % each)
    await filled(bench, 3, 1, lambda each: b"one %d" % each)
    _, reader, topic = bench
    spots = [(0, 7), (0, 8), (0, 1199), (0, 500), (1, 2), (1, 3), (0, 99_999)]
    found = await reader.records(topic, spots)
    assert {spot: record.value for spot, record in found.items()} == {
        (0, 7): b"zero 7",
        (0, 8): b"zero 8",
        (0, 1199): b"zero 1199",
        (0, 500): b"zero 500",
        (1, 2): b"one 2",
    }
    assert all((record.partition, record.offset) == spot for spot, record in found.items())


async def test_a_reader_serves_repeated_and_empty_requests(bench: Bench) -> None:
    await filled(bench, 5, 0, lambda each: b"%d" % each)
    _, reader, topic = bench
    assert await reader.records(topic, []) == {}
    for offset in (4, 0, 2):
        found = await reader.records(topic, [(0, offset)])
        assert found[0, offset].value == b"%d" % offset
