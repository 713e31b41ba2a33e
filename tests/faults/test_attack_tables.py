"""Tables that are damaged, gone, or emptied in Kafka: the service starts, loses no event, and counts on, never back."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, producer

PARTITIONS = 4
KEYS = 12
CHANGELOGS = [
    f"hookstream.{table}-changelog"
    for table in (
        "fanout-idempotency",
        "fanout-ordering",
        "fanout-positions",
        "sequencer-queues",
        "sequencer-waiting",
        "health-state",
    )
]


class Traffic:
    """Events with ordering keys, for two endpoints, and what their receivers saw."""

    def __init__(self, running: Service, box: Inbox, kafka: AIOKafkaProducer) -> None:
        self.running = running
        self.box = box
        self.kafka = kafka
        self.sent = 0

    async def append(self, first: int, last: int) -> None:
        for number in range(first, last):
            key = f"k{number % KEYS}"
            event = {"type": "a.b", "id": f"evt_{number}", "data": {"n": number, "pad": "x" * 900}, "ordering_key": key}
            await self.kafka.send(
                f"{self.running.prefix}events.raw",
                json.dumps(event).encode(),
                key=key.encode(),
                partition=number % PARTITIONS,
            )
        await self.kafka.flush()

    async def more(self, number: int) -> None:
        """Append new ones, and wait until both have all."""
        await self.append(self.sent, self.sent + number)
        self.sent += number
        wanted = {f"evt_{each}" for each in range(self.sent)}
        await self.box.until(
            lambda: all(set(self.box.ids(f"/standard/{name}")) >= wanted for name in ("free", "ordered"))
        )

    def sequences(self) -> dict[tuple[str, str], list[int]]:
        """For each path and ordering key, the numbers in the order in which they came (or have to be in)."""
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for each in self.box.received:
            found[each.path, each.headers["webhook-ordering-key"]].append(int(each.headers["webhook-sequence"]))
        return {
            (path, key): numbers if path == "/standard/ordered" else sorted(numbers)
            for (path, key), numbers in found.items()
        }

    def gapless(self) -> bool:
        """Whether every line counts from 1."""
        return all(numbers == list(range(1, len(numbers) + 1)) for numbers in self.sequences().values())

    def repeated(self) -> int:
        """Requests beyond one for each event and endpoint."""
        return len(self.box.received) - len({(each.path, each.event_id) for each in self.box.received})


def folders(data_dir: Path, number: int) -> list[Path]:
    """The RocksDB folders of one partition, of all tables."""
    found = sorted(data_dir.glob(f"**/*-{number}.db"))
    assert len(found) == 6, found
    return found


def damage(data_dir: Path) -> None:
    """Something else in each partition."""
    for folder in folders(data_dir, 0):
        (folder / "CURRENT").write_bytes(b"nonsense")
        (folder / "LOCK").write_bytes(b"left behind")
    for folder in folders(data_dir, 1):
        (manifest,) = folder.glob("MANIFEST-*")
        os.truncate(manifest, manifest.stat().st_size // 2)
    for folder in folders(data_dir, 2):
        shutil.rmtree(folder)
        folder.write_bytes(b"a file where a folder was")
    files = [path for folder in folders(data_dir, 3) for path in folder.glob("*.sst")]
    assert files, "what was in the write-ahead log has become files"
    for path in files:  # shows only when it is read
        with path.open("r+b") as file:
            file.write(os.urandom(64))


async def empty_changelogs(bootstrap: str, prefix: str) -> None:
    """What retention does, at once."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    asker = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await admin.start()
    await asker.start()
    try:
        places = [TopicPartition(prefix + name, number) for name in CHANGELOGS for number in range(PARTITIONS)]
        ends = await asker.end_offsets(places)
        # Kafka deletes from topics with the policy `delete` alone
        for name in CHANGELOGS:
            setting = {"cleanup.policy": "delete"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, prefix + name, configs=setting)])
        await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items() if end})
        begins = await asker.beginning_offsets(places)
        assert begins == ends
    finally:
        await asker.stop()
        await admin.close()


def restarts(metrics: str) -> dict[str, float]:
    found = re.findall(r'hookstream_role_restarts_total\{role="(\w+)"\} (\S+)', metrics)
    return {role: float(number) for role, number in found if float(number)}


async def test_damaged_and_lost_tables_are_rebuilt(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        traffic = Traffic(running, box, kafka)
        await running.add(f"{base}/standard/free")
        await running.add(f"{base}/standard/ordered", ordering="fifo")
        await traffic.more(240)
        assert await running.stop() == 0
        await running.start()
        await traffic.more(24)
        assert await running.stop() == 0

        damage(tmp_path)
        await running.start()
        await traffic.append(0, 60)  # a producer's duplicates
        await traffic.more(60)
        assert traffic.repeated() == 0, "the changelogs still knew what was delivered"
        assert traffic.gapless()
        assert len(list(tmp_path.glob("**/*.db.damaged"))) >= 11  # half a MANIFEST may do
        assert max(restarts(await running.metrics()).values(), default=0) <= 1
        assert await running.stop() == 0

        await empty_changelogs(broker.bootstrap, prefix)
        await running.cli("topics", "apply")  # a start refuses changelogs that Kafka would delete from
        for number in range(PARTITIONS):
            for folder in folders(tmp_path, number):
                shutil.rmtree(folder)
        before = {line: max(numbers) for line, numbers in traffic.sequences().items()}
        seen = len(box.received)
        await running.start()
        await traffic.more(60)
        after: list[Any] = box.received[seen:]
        assert not [each for each in after if "webhook-replay" in each.headers], "an empty table is no replay"
        for each in after:
            line = (each.path, each.headers["webhook-ordering-key"])
            assert int(each.headers["webhook-sequence"]) > before[line], "a sequence went back"
        assert all(numbers == sorted(numbers) for numbers in traffic.sequences().values())
        assert restarts(await running.metrics()) == {}
        assert await running.stop() == 0
