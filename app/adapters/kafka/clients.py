"""The one place where consumers are made: what all of them have in common.

Every consumer reads committed records only. Anybody may write to our topics within a transaction, so the records of an
aborted one must be seen by nobody, and where a log ends is its last stable offset for everybody: lag, fences, replays.
The one exception asks for end offsets only: see `CompactedTopicReader.catch_up_after_reply`.
Markers of transactions take an offset and are no records; see `BatchTrack`, `OffsetWatermark` and
`OpenPartitions.read_to`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

#: also of Faust's consumer
ISOLATION_LEVEL = "read_committed"


def consumer(bootstrap: str, *, client_id: str, group: str | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer of committed records, not started; it commits nothing by itself. `options` are aiokafka's."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        **{"isolation_level": ISOLATION_LEVEL, "auto_offset_reset": "earliest", **options},
    )


class Replaced(KafkaError):
    """A batch ended with its producer, which was ended for another batch's failure."""


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Send what waits, for three seconds at most; whoever waits for a batch of it then gets an error."""
    task = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait([task], timeout=3)
    if not done:  # it waits for batches that it cannot send; its own tasks would outlive it
        task.cancel()
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        await asyncio.gather(task, producer.client.close(), return_exceptions=True)
        # Whoever waits for a batch of it would wait for ever.
        producer._message_accumulator.fail_all(Replaced("the producer was replaced"))
    await asyncio.gather(task, return_exceptions=True)
