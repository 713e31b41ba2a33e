"""Our producers fenced and out of step, our groups invaded and deleted: it goes on by itself and loses nothing."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, producer
from tests.e2e.test_api_guarantees import answered
from tests.e2e.test_reset import stock_tool
from tests.patience import PATIENCE_S

PARTITIONS = 4
#: of a forgery: the producer may write between the look at its sequence and the forged record
TRIES = 100


class Traffic:
    """Events in all partitions, and the endpoint that has to get them."""

    def __init__(self, running: Service, box: Inbox, kafka: AIOKafkaProducer) -> None:
        self.running = running
        self.box = box
        self.kafka = kafka
        self.sent = 0

    async def append(self, number: int) -> None:
        for _ in range(number):
            event = json.dumps({"type": "a.b", "id": f"evt_{self.sent}", "data": {}}).encode()
            topic, partition = f"{self.running.prefix}events.raw", self.sent % PARTITIONS
            await self.kafka.send_and_wait(topic, event, key=b"k", partition=partition)
            self.sent += 1

    async def arrived(self) -> None:
        wanted = {f"evt_{number}" for number in range(self.sent)}
        await self.box.until(
            lambda: all(
                {each.event_id for each in self.box.received if each.path == path and each.status == 200} >= wanted
                for path in ("/standard/free", "/standard/ordered")
            )
        )

    async def during(self, attack: Callable[[], Awaitable[None]]) -> None:
        """Attack in the middle of a stream of events."""
        flowing = asyncio.create_task(self.append(60))
        await attack()
        await flowing
        await self.arrived()


async def last_producer(bootstrap: str, place: TopicPartition) -> tuple[int, int, int]:
    """(id, epoch, the sequence that comes next) of whoever has written a partition last."""
    seen: list[tuple[int, int, int]] = []

    class Spy:
        def __init__(self, data: bytes) -> None:
            records = MemoryRecords(data)
            while records.has_next():
                batch = records.next_batch()
                count = batch.next_offset - batch.base_offset
                seen.append((batch.producer_id, batch.producer_epoch, batch.base_sequence + count))
            self._records = MemoryRecords(data)
            self.has_next, self.next_batch = self._records.has_next, self._records.next_batch
            self.size_in_bytes = self._records.size_in_bytes

    stock, fetcher.MemoryRecords = fetcher.MemoryRecords, Spy
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        reader.assign([place])
        end = (await reader.end_offsets([place]))[place]
        while await reader.position(place) < end:
            await reader.getmany(place, timeout_ms=200)
    finally:
        await reader.stop()
        fetcher.MemoryRecords = stock
    return seen[-1]


async def forge(
    kafka: AIOKafkaProducer, place: TopicPartition, id_: int, epoch: int, sequence: int, count: int
) -> None:
    """Append records in the name of another producer."""
    builder = DefaultRecordBatchBuilder(2, 0, False, id_, epoch, sequence, 100_000)
    for number in range(count):
        builder.append(number, None, b"k", b"forged", [])
    batch = kafka.create_batch()
    batch.append(key=None, value=b"x", timestamp=None)
    batch.close()
    batch._build()
    batch._buffer = bytearray(builder.build())
    batch._relative_offset = count
    await (await kafka.send_batch(batch, place.topic, partition=place.partition))


async def fence_log(bootstrap: str, topic: str, kafka: AIOKafkaProducer) -> None:
    """A higher epoch in one partition, a sequence that is used up in the next one."""
    for number in range(2):
        place = TopicPartition(topic, number)
        for _ in range(TRIES):
            id_, epoch, sequence = await last_producer(bootstrap, place)
            assert id_ >= 0, "it is idempotent"
            try:
                if number:
                    await forge(kafka, place, id_, epoch, sequence, 7)
                else:
                    await forge(kafka, place, id_, epoch + 1, 0, 1)
                break
            except (OutOfOrderSequenceNumber, InvalidProducerEpoch):
                continue  # it has written meanwhile
        else:
            raise AssertionError(f"{place}: its producer was faster each time")


async def steal_writer(bootstrap: str, transactional_id: str) -> None:
    """Begin as the registry's writer, and go away again."""
    thief = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
    await thief.start()
    await thief.stop()


async def invade(bootstrap: str, group: str, topic: str) -> None:
    """Join a group as one of its members would, take partitions, and leave without having done anything."""
    invader = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        session_timeout_ms=10_000,
    )
    await invader.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not invader.assignment():
                await invader.getmany(timeout_ms=100)
    finally:
        await invader.stop()


def errors(metrics: str) -> set[str]:
    """The kinds of errors that appends were repeated for."""
    return set(re.findall(r'hookstream_producer_errors_total\{error="(\w+)",topic="[^"]*"\} [1-9]', metrics))


def restarts(metrics: str) -> dict[str, float]:
    found = re.findall(r'hookstream_role_restarts_total\{role="(\w+)"\} (\S+)', metrics)
    return {role: float(number) for role, number in found if float(number)}


async def test_roles_survive_fencing_foreign_members_and_deleted_groups(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        key = await running.key("default")
        for name, ordering in (("free", "none"), ("ordered", "fifo")):
            body = {"url": f"{base}/standard/{name}", "events": "*", "ordering": ordering}
            assert (await running.ask("POST", "/v1/webhooks", body, key=key)).status == 201
        traffic = Traffic(running, box, kafka)
        await traffic.append(40)
        await traffic.arrived()

        # The idempotent producer of all roles
        for name in ("hookstream.fanout-positions-changelog", "hookstream.fanout-idempotency-changelog"):
            await traffic.during(partial(fence_log, broker.bootstrap, prefix + name, kafka))
        assert errors(await running.metrics()), "our producer has noticed nothing"
        assert restarts(await running.metrics()) == {}, "the log itself renews its producer"

        # The transactional one of the registry
        for number in range(2):
            await steal_writer(broker.bootstrap, f"{prefix}hookstream.registry")
            body = {"url": f"{base}/standard/late{number}", "events": "never"}
            await answered(running, "POST", "/v1/webhooks", body, key, 201)
        assert set(restarts(await running.metrics())) <= {"registry"}

        # Groups
        for role, topic in (("dispatch", "deliveries"), ("delay", "deliveries.delay.1s")):
            group = f"{prefix}hookstream.{role}"
            await traffic.during(partial(invade, broker.bootstrap, group, prefix + topic))
        assert set(restarts(await running.metrics())) <= {"registry"}
        listed = (await running.ask("GET", "/v1/webhooks", key=key)).body
        assert await running.stop() == 0

        groups = [f"{prefix}hookstream.{role}" for role in ("fanout", "dispatch", "delay", "sequencer", "registry")]
        named = [word for group in groups for word in ("--group", group)]
        await stock_tool("--bootstrap-server", broker.bootstrap, "--delete", *named)
        await running.start()
        await traffic.append(20)
        await traffic.arrived()
        assert not [each for each in box.received if "webhook-replay" in each.headers], "a lost group is no replay"
        assert (await running.ask("GET", "/v1/webhooks", key=key)).body == listed
        assert restarts(await running.metrics()) == {}
        assert await running.stop() == 0
