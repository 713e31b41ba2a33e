"""The read model on a real Kafka: what was delivered is found in it, and is the same after its database was deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.sql.database import FILE, Database
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import Unavailable
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.patience import LOOKS, PATIENCE_S
from tests.postgres import Postgres

ACME = DeliveryFilter(tenant="acme", mode="live")


async def rows_when(folder: Path, enough: Callable[[Sequence[DeliveryRow]], bool]) -> list[DeliveryRow]:
    """The newest deliveries, once they satisfy a condition; the process that writes them is a foreign one."""
    store = SqlReadStore(Database(None, folder))
    try:
        for _ in range(LOOKS):
            try:
                rows = list((await store.deliveries(ACME, limit=100)).rows)
            except Unavailable:
                rows = []
            if enough(rows):
                return rows
            await pause(0.05)
        raise AssertionError(rows)
    finally:
        await store.close()


async def test_deliveries_are_found_and_found_again_after_a_rebuild(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.01"}
    async with (
        service(broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox("status:503*4,200") as (box, base),
    ):
        added = await running.add(f"{base}/standard", tenant="acme", events="recording.*")
        box.receiver.register("standard", "standard", added["secret"])
        async with producer(broker.bootstrap) as kafka:
            for number in range(20):
                event = {"type": "recording.created", "id": f"evt_{number}", "tenant": "acme", "data": number}
                await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"acme")

        def all_delivered(rows: Sequence[DeliveryRow]) -> bool:
            return len(rows) == 20 and {row.state for row in rows} == {"delivered"}

        before = await rows_when(tmp_path, all_delivered)
        assert {row.event_id for row in before} == {f"evt_{number}" for number in range(20)}
        assert all(row.source is not None and row.endpoint_id == added["id"] for row in before)
        read = SqlReadStore(Database(None, tmp_path))
        tried = [len(await read.attempts("acme", "live", row.id)) for row in before]
        assert tried == [row.attempts for row in before] and max(tried) == 2
        counted = await read.hours("acme", "live", endpoint_id=added["id"], since_ms=0, until_ms=2**53)
        await read.close()

        told = await running.cli("readmodel", "status", "-o", "json")
        assert told["schema"] == told["program_schema"]
        assert {each["topic"]: each["behind"] for each in told["topics"]}["attempts"] == 0
        checked = await running.cli("readmodel", "check", "-o", "json")
        assert (checked["different"], checked["differences"]) == (0, []) and checked["rows"] == sum(tried)
        assert "Read" in await running.cli("readmodel", "rebuild")
        assert await rows_when(tmp_path, all_delivered) == before, "while the service runs"

        assert await running.stop() == 0
        for path in tmp_path.glob(f"{FILE}*"):
            path.unlink()
        await running.start()
        assert await rows_when(tmp_path, all_delivered) == before
        read = SqlReadStore(Database(None, tmp_path))
        assert await read.hours("acme", "live", endpoint_id=added["id"], since_ms=0, until_ms=2**53) == counted
        await read.close()


async def test_an_outage_of_postgresql_and_a_kill_lose_nothing_and_count_nothing_twice(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    own = Postgres()
    own.create()
    await own.start()
    url = await own.database()
    settings = {"HOOKSTREAM_DATABASE_URL": url}
    read = SqlReadStore(Database(url, tmp_path))
    try:
        async with service(broker.bootstrap, prefix, tmp_path, settings) as running, inbox() as (box, base):
            added = await running.add(f"{base}/standard", tenant="acme", events="*")
            box.receiver.register("standard", "standard", added["secret"])
            await _send(broker, prefix, range(50))
            await _until(read, 50)
            own.stop()
            await _send(broker, prefix, range(50, 150))
            await box.until(lambda: len(set(box.ids())) == 150)
            await _said(running, "projection", "cannot be used")
            await own.start()
            await _until(read, 150)
            await _said(running, "projection", None)
            sending = asyncio.create_task(_send(broker, prefix, range(150, 600)))
            await box.until(lambda: len(set(box.ids())) >= 200)
            running.kill()
            await running.ended()
            await sending
            await running.start()
            await box.until(lambda: len(set(box.ids())) == 600)
            await _until(read, 600)
        made = await attempts_in(broker, f"{prefix}attempts")
        (hour, *more) = await read.hours("acme", "live", endpoint_id=added["id"], since_ms=0, until_ms=2**53)
        assert sum(each.attempts for each in (hour, *more)) == made >= 600
        assert sum(each.delivered for each in (hour, *more)) == 600
    finally:
        await read.close()
        own.remove()


async def _send(broker: RealBroker, prefix: str, numbers: range) -> None:
    async with producer(broker.bootstrap) as kafka:
        for number in numbers:
            event = {"type": "a.b", "id": f"evt_{number}", "tenant": "acme", "data": number}
            await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"acme")


async def _until(read: SqlReadStore, delivered: int) -> None:
    """Look until so many are shown as delivered, and no more."""
    which = DeliveryFilter(tenant="acme", mode="live", states=("delivered",))
    async with asyncio.timeout(PATIENCE_S):
        while await read.count(which, at_most=10_000) < delivered:
            await pause(0.1)
    assert await read.count(which, at_most=10_000) == delivered


async def _said(running: Service, role: str, words: str | None) -> None:
    """Look at /readyz until it says that of a role."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            _, roles = await running.readiness()
            if (words is None and roles[role] == "ready") or (words is not None and words in roles[role]):
                return
            await pause(0.1)


async def attempts_in(broker: RealBroker, topic: str) -> int:
    """How many records of attempts Kafka has."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap)
    await consumer.start()
    try:
        numbers = await consumer._client.fetch_all_metadata()
        places = [TopicPartition(topic, number) for number in numbers.partitions_for_topic(topic)]
        return sum((await consumer.end_offsets(places)).values())
    finally:
        await consumer.stop()
