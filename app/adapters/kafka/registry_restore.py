"""Write a backup into an empty registry, in one transaction: readers see the whole of it, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import KafkaClients, stop_producer
from app.core.errors import Unavailable

#: records that wait for their acknowledgement
_AT_ONCE = 1000
#: milliseconds after which the broker aborts the transaction; brokers allow 15 minutes
_TRANSACTION_MS = 900_000


async def write_registry(
    clients: KafkaClients, topic: str, records: Mapping[bytes, bytes], *, transactional_id: str
) -> None:
    """Append the records to `topic`. `transactional_id` is the registry's, so that a former writer is fenced.

    Raises `Unavailable`; nothing has been written then.
    """
    producer = clients.producer(
        "hookstream-cli", transactional_id=transactional_id, transaction_timeout_ms=_TRANSACTION_MS
    )
    entries = list(records.items())
    try:
        async with clients.connecting():
            await producer.start()
        async with producer.transaction():
            for begin in range(0, len(entries), _AT_ONCE):
                sent = [
                    await producer.send(topic, key=key, value=value) for key, value in entries[begin : begin + _AT_ONCE]
                ]
                await asyncio.gather(*sent)
    except KafkaError as error:
        raise Unavailable(f"The registry could not be written, and is still empty: {error!r}") from error
    finally:
        await stop_producer(producer)
