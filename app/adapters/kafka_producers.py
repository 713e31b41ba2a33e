"""How a producer of aiokafka is ended."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError


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
