"""What Kafka says afterwards: a plain consumer, without a group, that remembers the records of each tenant."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

_TOPICS = ("events.raw", "attempts", "deliveries.dead", "events.rejected")


@dataclass(slots=True)
class Seen:
    """The records of one tenant."""

    #: events.raw, in the order of their partition: (partition, offset, event)
    events: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)
    #: values of `attempts`
    attempts: list[dict[str, Any]] = field(default_factory=list)
    #: (event id, endpoint id, number) of an attempt → when its first record was read, by the clock of the loop
    read_at: dict[tuple[str, str, int], float] = field(default_factory=dict)
    #: (event id, endpoint id, reason) of deliveries.dead
    dead: list[tuple[str, str, str]] = field(default_factory=list)


class Observer:
    """Reads while the rounds go on; survives the broker's absence."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._topics = {f"{prefix}{name}": name for name in _TOPICS}
        self.tenants: dict[str, Seen] = defaultdict(Seen)
        self.rejected = 0
        self._changed = asyncio.Event()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            isolation_level="read_committed",  # a delivery of anything else is one to a stranger
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read from now on."""
        await self._consumer.start()
        places = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in sorted(self._consumer.partitions_for_topic(topic) or await self._partitions(topic))
        ]
        self._consumer.assign(places)
        self._task = asyncio.create_task(self._run())

    async def _partitions(self, topic: str) -> set[int]:
        await self._consumer._client.add_topic(topic)
        return set(self._consumer._client.cluster.partitions_for_topic(topic) or ())

    async def stop(self) -> None:
        """Read no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until the condition holds, looked at after each read; False: it does not within the time."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    async def _run(self) -> None:
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=500)
            except KafkaError:
                await asyncio.sleep(0.2)
                continue
            for place, records in batches.items():
                for record in records:
                    self._take(self._topics[place.topic], record)
            self._changed.set()

    def _take(self, topic: str, record: Any) -> None:
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
        if topic == "events.rejected":
            self.rejected += 1
        elif topic == "deliveries.dead":
            said = (headers.get("event-id", ""), (record.key or b"").decode(), headers.get("reason", ""))
            self.tenants[headers.get("tenant", "")].dead.append(said)
        else:
            try:
                value = json.loads(record.value)
            except ValueError:
                return  # garbage on purpose
            seen = self.tenants[value.get("tenant", "default")]
            if topic == "attempts":
                seen.attempts.append(value)
                name = (value["event_id"], value["endpoint_id"], value["attempt"])
                seen.read_at.setdefault(name, asyncio.get_running_loop().time())
            else:
                seen.events.append((record.partition, record.offset, value))
