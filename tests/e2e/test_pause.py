"""Pause and resume, kill -9 in a resume, and disable, enable and recover: nothing lost, in order, nobody disturbed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from app.adapters.clock import SystemClock
from app.adapters.kafka.command_client import CommandClient
from app.core.records.command import ReactivateEndpoint, RecoverEndpoint, SuspendEndpoint, UpdateEndpoint
from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read, service
from tests.kafka import clients_at

PARTITIONS = 4


class Operator:
    """Who pauses, resumes, disables and recovers: over the registry's commands, as the API does it."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self.commands = CommandClient(
            clients_at(bootstrap),
            commands=f"{prefix}registry.commands",
            replies=f"{prefix}registry.replies",
            client_id="test",
            clock=SystemClock(),
        )

    async def ends(self, topic: str) -> dict[int, int]:
        client = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, group_id=None)
        await client.start()
        try:
            places = [TopicPartition(self._prefix + topic, number) for number in range(PARTITIONS)]
            return {place.partition: end for place, end in (await client.end_offsets(places)).items()}
        finally:
            await client.stop()

    async def suspend(self, endpoint: str, status: Any) -> None:
        number = (murmur2(endpoint.encode()) & 0x7FFFFFFF) % PARTITIONS
        begin, dead = await self.ends("events.raw"), await self.ends("deliveries.dead")
        await self.commands.call(SuspendEndpoint(endpoint, status, begin, dead[number]), entity=endpoint)

    async def reactivate(self, endpoint: str, replay_id: str) -> None:
        end = await self.ends("events.raw")
        await self.commands.call(ReactivateEndpoint(endpoint, end, replay_id), entity=endpoint)

    async def recover(self, endpoint: str, replay_id: str) -> None:
        await self.commands.call(RecoverEndpoint(endpoint, replay_id), entity=endpoint)

    async def one_at_a_time(self, endpoint: str) -> None:
        """Only then can a test see an order at the receiver."""
        await self.commands.call(UpdateEndpoint(endpoint, {"max_in_flight": 1}), entity=endpoint)

    async def replay(self, replay_id: str, state: str) -> dict[str, Any]:
        """The replay, once it has that state."""
        key = f"replay/{replay_id}".encode()

        def there(records: list[Any]) -> bool:
            return any(record.key == key and json.loads(record.value).get("state") == state for record in records)

        records = await read(self._bootstrap, f"{self._prefix}registry", there)
        found: dict[str, Any] = [json.loads(record.value) for record in records if record.key == key][-1]
        return found

    async def put_aside(self, number: int) -> None:
        """Wait until so many deliveries wait for a resume."""

        def there(records: list[Any]) -> bool:
            return sum(("reason", b"paused") in record.headers for record in records) >= number

        await read(self._bootstrap, f"{self._prefix}deliveries.dead", there)


@asynccontextmanager
async def operator(bootstrap: str, prefix: str) -> AsyncIterator[Operator]:
    known = Operator(bootstrap, prefix)
    await known.commands.start()
    try:
        yield known
    finally:
        await known.commands.stop()


def evt(number: int) -> str:
    return f"evt_{number:04}"


async def append(kafka: AIOKafkaProducer, prefix: str, *numbers: int) -> None:
    """Events of one ordering key."""
    for number in numbers:
        event = {"type": "a.b", "id": evt(number), "ordering_key": "order", "data": {"n": number}}
        ack = await kafka.send(f"{prefix}events.raw", json.dumps(event).encode(), key=b"order")
    await ack


async def sequences(
    bootstrap: str, prefix: str, endpoint: str, number: int
) -> dict[str, tuple[int | None, str | None]]:
    """Event id → sequence and replay of the delivered ones, as the attempts say."""

    def delivered(records: list[Any]) -> list[dict[str, Any]]:
        attempts = [json.loads(record.value) for record in records if record.key == endpoint.encode()]
        return [attempt for attempt in attempts if attempt["state"] == "delivered"]

    records = await read(bootstrap, f"{prefix}attempts", lambda found: len(delivered(found)) >= number)
    return {each["event_id"]: (each.get("sequence"), each.get("replay_id")) for each in delivered(records)}


async def no_more(box: Inbox, number: int) -> None:
    await pause(1.0)
    assert len(box.received) == number


async def test_a_resume_delivers_all_parked_deliveries_in_order_and_once(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path, {"HOOKSTREAM_TIME_SCALE": "0.01"}),
        inbox("status:500*20,200") as (box, base),
        inbox() as (other, other_base),
        producer(broker.bootstrap) as kafka,
        operator(broker.bootstrap, prefix) as ops,
    ):
        endpoint = (await Service(broker.bootstrap, prefix, tmp_path).add(f"{base}/standard", schedule="0,1000,1000"))[
            "id"
        ]
        await Service(broker.bootstrap, prefix, tmp_path).add(f"{other_base}/standard")
        await ops.one_at_a_time(endpoint)
        await append(kafka, prefix, *range(20))
        await box.until(lambda: len(box.received) == 20)
        await ops.suspend(endpoint, "paused")
        await append(kafka, prefix, *range(20, 320))
        await other.until(lambda: len(other.received) == 320)
        await ops.put_aside(320)
        assert [each.status for each in box.received] == [500] * 20
        await ops.reactivate(endpoint, "rpl_1")
        await box.until(lambda: len(box.received) == 340)
        assert box.ids()[20:] == [evt(number) for number in range(320)]
        assert [each.attempt for each in box.received[20:]] == [2] * 20 + [1] * 300
        ended = await ops.replay("rpl_1", "done")
        assert ended["sent"] == 320
        said = await sequences(broker.bootstrap, prefix, endpoint, 320)
        assert said == {evt(number): (number + 1, None) for number in range(320)}
        await no_more(box, 340)
        assert sorted(other.ids()) == [evt(number) for number in range(320)]
        await append(kafka, prefix, 320)
        await box.until(lambda: len(box.received) == 341)


async def test_kill_9_in_a_resume_loses_nothing(
    broker: RealBroker, prefix: str, tmp_path: Path, capsys: object
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply", "-o", "json")
    await running.start()
    async with (
        inbox() as (box, base),
        producer(broker.bootstrap) as kafka,
        operator(broker.bootstrap, prefix) as ops,
    ):
        endpoint = (await running.add(f"{base}/standard"))["id"]
        await ops.suspend(endpoint, "paused")
        await append(kafka, prefix, *range(3000))
        await ops.put_aside(3000)
        await ops.reactivate(endpoint, "rpl_1")
        for kill_at in (300, 1200):
            await box.until(lambda at=kill_at: len(box.received) >= at)  # type: ignore[misc]
            running.kill()
            await running.ended()
            await running.start()
        await box.until(lambda: len(set(box.ids())) >= 2000)
        assert await running.stop() == 0, "stopped in the middle of a replay"
        await running.start()
        await ops.replay("rpl_1", "done")
        await box.until(lambda: len(set(box.ids())) == 3000)
        repeated = sum(number - 1 for number in Counter(box.ids()).values())
        assert await running.stop() == 0
    with capsys.disabled():  # type: ignore[attr-defined]
        print(f"\n2 kills in a resume of 3000: 0 lost, {repeated} sent again")
    assert repeated < 3000


async def test_recover_delivers_missed_events_as_fan_out_decided(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        inbox() as (box, base),
        inbox() as (other, other_base),
        producer(broker.bootstrap) as kafka,
        operator(broker.bootstrap, prefix) as ops,
    ):
        endpoint = (await running.add(f"{base}/standard"))["id"]
        await running.add(f"{other_base}/standard")
        await ops.one_at_a_time(endpoint)
        await append(kafka, prefix, *range(10))
        await box.until(lambda: len(box.received) == 10)
        await ops.suspend(endpoint, "disabled")
        # producers send again: what came before the disablement, and what came in it
        await append(kafka, prefix, *range(10, 150), 3, 50, *range(150, 200), 60, 199)
        await kafka.send_and_wait(f"{prefix}events.raw", b"no event", key=b"order")
        await kafka.send_and_wait(f"{prefix}events.raw", b'{"type":"a.b","id":"x","tenant":"t","data":1}')
        plain = {"type": "a.b", "data": {}}
        await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(plain).encode(), key=b"another partition")
        await other.until(lambda: len(other.received) == 201)
        await ops.reactivate(endpoint, "unused")
        await append(kafka, prefix, 200)
        await box.until(lambda: len(box.received) == 11)
        await ops.recover(endpoint, "rpl_2")
        ended = await ops.replay("rpl_2", "done")
        await box.until(lambda: len(box.received) == 202)
        ordered = [each for each in box.ids()[11:] if each.startswith("evt_0")]
        assert ordered == [evt(number) for number in range(10, 200)]
        assert ended["sent"] == 191 and len(set(box.ids())) == 202
        said = await sequences(broker.bootstrap, prefix, endpoint, 202)
        for number in range(201):
            expected = "rpl_2" if 10 <= number < 200 else None
            assert said[evt(number)] == (number + 1, expected), number
        await no_more(box, 202)
        assert len(other.received) == 202
