"""Events for very many endpoints, on a real broker: others have their turn, and a crash does not begin them anew."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.kafka.producer import KafkaProducer
from app.core.model.endpoint import Endpoint
from app.core.records.registry import encode
from app.core.topics.names import TopicName
from app.roles import ack_pipeline
from app.roles.fanout.rules import FanoutRules
from tests.conftest import RealBroker
from tests.e2e.harness import Service
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

ENDPOINTS = 60_000
#: what may be under way at a crash: acknowledgements that are awaited, and the slice that was planned beyond them
UNDER_WAY = ack_pipeline._MAX_RECORDS + FanoutRules(topic="", ttl_ms=0, max_event_bytes=0).slice_outputs


class Deliveries:
    """Reads `deliveries` from its beginning."""

    def __init__(self, running: Service) -> None:
        self._topic = running.prefix + TopicName.DELIVERIES
        self._bootstrap = running.bootstrap
        #: tenant → endpoint → how often
        self.seen: dict[str, Counter[tuple[str, str]]] = {"wide": Counter(), "other": Counter()}
        #: tenant → when the latest delivery was appended
        self.latest: dict[str, int] = {}

    async def __aenter__(self) -> Deliveries:
        self._consumer = AIOKafkaConsumer(self._topic, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until the condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._take(await self._consumer.getmany(timeout_ms=200))

    async def to_the_end(self) -> None:
        """Read what is there."""
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        async with asyncio.timeout(PATIENCE_S):
            for place, end in ends.items():
                while await self._consumer.position(place) < end:
                    self._take(await self._consumer.getmany(timeout_ms=200))

    def _take(self, polled: dict[TopicPartition, list[Any]]) -> None:
        for records in polled.values():
            for record in records:
                headers = dict(record.headers)
                tenant = headers["tenant"].decode()
                self.seen[tenant][headers["event-id"].decode(), record.key.decode()] += 1
                self.latest[tenant] = max(self.latest.get(tenant, 0), record.timestamp)


async def prepared(broker: RealBroker, prefix: str, folder: Path) -> tuple[Service, KafkaProducer]:
    """A fan-out worker that does not run yet, and a log with its registry filled."""
    running = Service(broker.bootstrap, prefix, folder, roles=("fanout",))
    await running.cli("topics", "apply", "-o", "json")
    log = KafkaProducer(clients_at(broker.bootstrap), client_id="test")
    registry, raw = prefix + TopicName.REGISTRY, prefix + TopicName.EVENTS_RAW
    await log.start([registry, raw])
    acks = []
    for number in range(ENDPOINTS + 1):
        endpoint = Endpoint(
            id=f"ep_{number * 7919 % (ENDPOINTS + 1):024x}",
            tenant="wide" if number else "other",
            mode="live",
            profile="standard",
            url="https://example.com/hooks",
            events=("*",),
        )
        acks.append(await log.append(registry, key=f"endpoint/{endpoint.id}".encode(), value=encode(endpoint)))
    await asyncio.gather(*acks)
    return running, log


async def append(log: KafkaProducer, prefix: str, tenant: str, partition: int, number: int) -> None:
    for serial in range(number):
        event = {"type": "a.b", "id": f"evt_{tenant}_{serial}", "tenant": tenant, "data": serial}
        value = msgspec.json.encode(event)
        await (await log.append(prefix + TopicName.EVENTS_RAW, key=b"k", value=value, partition=partition))


async def test_other_tenants_are_served_while_wide_events_go_on(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running, log = await prepared(broker, prefix, tmp_path)
    try:
        await append(log, prefix, "wide", 0, 4)
        await running.spawn()
        async with Deliveries(running) as deliveries:
            await deliveries.until(lambda: bool(deliveries.seen["wide"]))
            await append(log, prefix, "other", 1, 5)
            await deliveries.until(lambda: len(deliveries.seen["other"]) == 5)
            await deliveries.until(lambda: len(deliveries.seen["wide"]) == 4 * ENDPOINTS)
            assert deliveries.latest["other"] < deliveries.latest["wide"], "they waited for the wide events to end"
            assert set(deliveries.seen["wide"].values()) == {1}
        assert await running.stop() == 0
    finally:
        await log.close()


async def test_after_kill_9_a_wide_event_goes_on_where_it_was(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running, log = await prepared(broker, prefix, tmp_path)
    try:
        await append(log, prefix, "wide", 0, 1)
        await running.spawn()
        async with Deliveries(running) as deliveries:
            await deliveries.until(lambda: len(deliveries.seen["wide"]) > UNDER_WAY * 3 // 2)
            running.kill()
            await running.ended()
            await deliveries.to_the_end()
            before = len(deliveries.seen["wide"])
            assert UNDER_WAY < before < ENDPOINTS, "it has to be in the middle of the event"
            shutil.rmtree(tmp_path / "tables")  # whoever goes on may know nothing but Kafka
            await running.spawn()
            await deliveries.until(lambda: len(deliveries.seen["wide"]) == ENDPOINTS)
            await running.until_ready()
            assert await running.stop() == 0
            await deliveries.to_the_end()
            repeated = sum(deliveries.seen["wide"].values()) - ENDPOINTS
            assert repeated <= UNDER_WAY
    finally:
        await log.close()
