"""Read one partition of a compacted topic from its beginning to its present end, once."""

from __future__ import annotations

from aiokafka import TopicPartition

from app.adapters.kafka_clients import consumer
from app.adapters.kafka_errors import reachable


async def latest(bootstrap: str, topic: str, partition: int) -> dict[bytes, bytes]:
    """Key → the latest value, of keys that have one. Raises `Unavailable`."""
    place = TopicPartition(topic, partition)
    reader = consumer(bootstrap, client_id="hookstream-cli")
    found: dict[bytes, bytes] = {}
    with reachable(bootstrap):
        await reader.start()
        try:
            reader.assign([place])
            await reader.seek_to_beginning(place)
            end = (await reader.end_offsets([place]))[place]
            while await reader.position(place) < end:
                for record in (await reader.getmany(place, timeout_ms=500)).get(place, []):
                    if record.value is None:
                        found.pop(record.key or b"", None)
                    else:
                        found[record.key or b""] = record.value
        finally:
            await reader.stop()
    return found
