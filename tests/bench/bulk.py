"""Appends very many records, in batches made here: a call of the producer for each would take minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import cycle

from aiokafka import AIOKafkaProducer

Entry = tuple[bytes, bytes | None, list[tuple[str, bytes]]]


async def fill(bootstrap: str, topic: str, entries: Iterable[Entry]) -> None:
    """Append key, value and headers of each entry; batches go to the partitions in turns."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=256 * 1024)
    await producer.start()
    try:
        partitions = cycle(sorted(await producer.partitions_for(topic)))
        batch, acks = producer.create_batch(), []
        for key, value, headers in entries:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                acks.append(await producer.send_batch(batch, topic, partition=next(partitions)))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        acks.append(await producer.send_batch(batch, topic, partition=next(partitions)))
        await asyncio.gather(*acks)
    finally:
        await producer.stop()
