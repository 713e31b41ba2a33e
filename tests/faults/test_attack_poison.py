"""Poison in every topic: whatever somebody appends, no role stops, and what is behind it is delivered."""

from __future__ import annotations

import asyncio
import json
import os
import re
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, producer, read
from tests.e2e.test_moved_logs import until

TOPICS = Path(__file__).parents[2] / "topics"
PARTITIONS = 4
HUGE = b"9" * 5000
#: sights, lines and positions that nobody has written, and keys that no table knows
VALUES: list[bytes | None] = [
    None,
    b"",
    b"\xff\xfe\x00\x01" * 8,
    b"\x01" + bytes(28),
    b"[" * 100_000,
    b'{"id":"\xff"}',
    b"null",
    b"{}",
    b'{"type":"a.b","data":' + b"[" * 50_000,
    b'{"high":1e999}',
    b'{"high":' + HUGE[:30] + b"}",
]
DELIVERY: dict[str, bytes | None] = {
    "delivery-id": b"dlv_poison",
    "event-id": b"poison",
    "event-type": b"a.b",
    "tenant": b"default",
    "mode": b"live",
    "created-at": b"2026-01-01T00:00:00Z",
    "accepted-at": b"1",
    "ordering-key": b"k",
    "reason": b"paused",
}
NUMBERS = (b"abc", b"-1", b"1" + b"0" * 30, HUGE, b"", b"1.5", b"\xff", None, b"9223372036854775807")
COUNTED = (
    "due-at",
    "attempts",
    "accepted-at",
    "sequence",
    "registry-position",
    "arrival",
    "settles",
    "revision",
    "format",
    "mode",
)


def names(prefix: str) -> list[str]:
    """Every topic of an installation."""
    found = []
    for file in sorted(TOPICS.glob("*.yaml")):
        said = yaml.safe_load(file.read_text("utf-8"))
        found += [f"{said['name']}.{rung}" for rung in said.get("rungs", ())] or [said["name"]]
    return [prefix + name for name in found]


def poison(endpoint: str) -> Iterator[tuple[bytes | None, bytes | None, list[tuple[str, Any]]]]:
    """(key, value, headers), once around all that can be wrong."""
    body = b'{"type":"a.b","data":1}'
    known = endpoint.encode()
    for value in VALUES:
        for key in (None, known, b"\xff", b"ep_unknown", f"endpoint/{endpoint}x".encode(), b"key/\xff"):
            yield key, value, []
        yield known, value, list(DELIVERY.items())
    for name in COUNTED:
        for number in NUMBERS:
            yield known, body, list({**DELIVERY, name: number}.items())
    for name in DELIVERY:
        yield known, body, [pair for pair in DELIVERY.items() if pair[0] != name]
        yield known, body, list({**DELIVERY, name: b"\xff\xfe"}.items())
        yield known, body, list({**DELIVERY, name: b"x" * 40_000}.items())
        yield known, body, list({**DELIVERY, name: b"a\r\nb: c"}.items())
    yield known, body, [("outcome", b"eaten"), ("settles", b"0"), ("ordering-key", b"k")]
    yield b"ep_unknown", body, list(DELIVERY.items())
    yield None, body, list(DELIVERY.items())
    yield known, body, [("ordering-key", b"k")]  # would hold its line for ever
    yield known, body, [(f"h{number}", os.urandom(900)) for number in range(300)]


def odd_batch() -> bytes:
    """Three records; the header name of the middle one is not UTF-8, which Java could not write."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 100_000)
    for number in range(3):
        event = {"type": "a.b", "id": f"odd_{number}", "data": number}
        headers = [("ZZZZ", b"x")] if number == 1 else []
        builder.append(number, None, b"k", json.dumps(event).encode(), headers)
    made = bytearray(builder.build())
    at = made.index(b"ZZZZ")
    made[at : at + 4] = b"\xff\xfe\xc3\x28"
    struct.pack_into(">I", made, 17, calc_crc32c(memoryview(made)[21:]))
    return bytes(made)


async def append_odd(kafka: AIOKafkaProducer, topic: str, partition: int) -> None:
    """Append `odd_batch`, in place of a batch that the producer has built."""
    batch = kafka.create_batch()
    batch.append(key=None, value=b"x", timestamp=None)
    batch.close()
    made = odd_batch()
    batch._build()
    batch._buffer = bytearray(made)
    batch._relative_offset = 3
    await (await kafka.send_batch(batch, topic, partition=partition))


class Attack:
    """A service under attack, and its traffic."""

    def __init__(self, running: Service, box: Inbox, base: str, kafka: AIOKafkaProducer) -> None:
        self.running = running
        self.box = box
        self.base = base
        self.kafka = kafka
        self.sent = 0

    async def events(self, number: int) -> None:
        """Good ones, in all partitions, half of them with an ordering key."""
        for _ in range(number):
            event: dict[str, Any] = {"type": "a.b", "id": f"evt_{self.sent}", "data": {"n": self.sent}}
            if self.sent % 2:
                event["ordering_key"] = f"k{self.sent % 8}"
            await self.kafka.send_and_wait(
                f"{self.running.prefix}events.raw",
                json.dumps(event).encode(),
                key=b"k%d" % (self.sent % 8),
                partition=self.sent % PARTITIONS,
            )
            self.sent += 1

    async def delivered(self) -> None:
        """Wait for all of them, at both endpoints."""
        wanted = {f"evt_{number}" for number in range(self.sent)}

        def complete() -> bool:
            return all(
                {each.event_id for each in self.box.received if each.path == path and each.status == 200} >= wanted
                for path in ("/standard/free", "/standard/ordered")
            )

        await self.box.until(complete)

    async def poison(self, topics: list[str], endpoint: str) -> int:
        """Append all of it to each topic, in two of its partitions; how many records that were."""
        acks, records = [], 0
        for topic in topics:
            most = min(2, len(await self.kafka.partitions_for(topic)))
            for number, (key, value, headers) in enumerate(poison(endpoint)):
                if key is None and compacted(topic):
                    continue  # the broker itself refuses it
                batch = self.kafka.create_batch()
                assert batch.append(key=key, value=value, timestamp=None, headers=headers)
                acks.append(await self.kafka.send_batch(batch, topic, partition=number % most))
                records += 1
        await asyncio.gather(*acks)
        return records


def compacted(topic: str) -> bool:
    """Whether a record there must have a key."""
    return topic.endswith(("changelog", ".registry"))


@asynccontextmanager
async def attacked(broker: RealBroker, prefix: str, folder: Path) -> AsyncIterator[Attack]:
    running = Service(broker.bootstrap, prefix, folder, {"HOOKSTREAM_TIME_SCALE": "0.01"})
    log_file = folder / "log"
    with log_file.open("wb") as output:
        running.output = output
        await running.cli("topics", "apply")
        await running.start()
        try:
            async with inbox("status:500*5,200") as (box, base), producer(broker.bootstrap) as kafka:
                yield Attack(running, box, base, kafka)
        finally:
            if running.alive:
                assert await running.stop() == 0


def restarts(metrics: str) -> dict[str, float]:
    return {
        role: float(number)
        for role, number in re.findall(r'hookstream_role_restarts_total\{role="(\w+)"\} (\S+)', metrics)
        if float(number)
    }


def unreadable(metrics: str) -> dict[str, float]:
    found = re.findall(r'hookstream_records_unreadable_total\{topic="([\w.]+)"\} (\S+)', metrics)
    return {topic: float(number) for topic, number in found}


def has_counted_it(metrics: str) -> bool:
    """Whether each of these has read something that it cannot use."""
    return (
        unreadable(metrics).keys() >= {"deliveries", "deliveries.ordered", "registry"}
        and re.search(r'registry_commands_total\{result="unreadable"\} [1-9]', metrics) is not None
        and re.search(r'events_rejected_total\{reason="not_json"\} [1-9]', metrics) is not None
    )


def mine(records: list[Any]) -> list[tuple[int, bytes]]:
    """(offset in events.raw, reason) of what was rejected from its last partition."""
    named = [dict(each.headers) for each in records if each.key == b"mine"]
    return [
        (int(each["rejected-offset"]), each["rejected-reason"]) for each in named if each["rejected-partition"] == b"3"
    ]


async def test_poison_in_every_topic_stops_nothing(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with attacked(broker, prefix, tmp_path) as attack:
        running = attack.running
        await running.add(f"{attack.base}/standard/free", schedule="0,10,10,10,10,10")
        ordered = await running.add(f"{attack.base}/standard/ordered", ordering="fifo", schedule="0,10,10,10,10,10")
        await attack.events(40)
        topics = names(prefix)
        pouring = asyncio.create_task(attack.poison(topics, ordered["id"]))
        await attack.events(80)
        assert await pouring > 4000
        for topic in (f"{prefix}events.raw", f"{prefix}deliveries", f"{prefix}deliveries.delay.1s"):
            await append_odd(attack.kafka, topic, 0)
        await attack.events(40)
        await attack.delivered()
        odd = {f"odd_{number}" for number in range(3)}
        await attack.box.until(lambda: set(attack.box.ids("/standard/free")) >= odd)
        await running.until_ready()
        for value in (b"", b"\xff", b"{}"):
            await attack.kafka.send_and_wait(f"{prefix}events.raw", value, key=b"mine", partition=3)
        rejected = await read(broker.bootstrap, f"{prefix}events.rejected", lambda seen: len(mine(seen)) == 3)
        assert [reason for _, reason in sorted(mine(rejected))] == [b"empty", b"not_json", b"not_an_event"]
        added = await running.add(f"{attack.base}/standard/late")  # the registry answers, and the directory follows
        assert added["id"]
        await until(running, has_counted_it)
        for name in ("dispatch.unreadable", "sequencer.unreadable", "registry.unreadable", "table.unreadable"):
            told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
            assert any("offset" in each for each in told if each["event"] == name), name
        assert restarts(await running.metrics()) == {}
        assert await running.stop() == 0
        # Second act: what was put into the changelogs is read when a disk is new.
        for folder in ("tables", "queues"):
            for path in (tmp_path / folder).iterdir():
                path.rename(tmp_path / f"{folder}.{path.name}")
        await running.start()
        await attack.events(40)
        await attack.delivered()
        assert restarts(await running.metrics()) == {}
