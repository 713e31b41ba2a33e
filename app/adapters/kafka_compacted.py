"""Read one partition of a compacted topic from its beginning to its present end, once."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.kafka_errors import reachable


async def latest(bootstrap: str, topic: str, partition: int) -> dict[bytes, bytes]:
    """Key → the latest value, of keys that have one. Raises `Unavailable`."""
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, client_id="hookstream-cli", group_id=None, enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    found: dict[bytes, bytes] = {}
    with reachable(bootstrap):
        await consumer.start()
        try:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    if record.value is None:
                        found.pop(record.key or b"", None)
                    else:
                        found[record.key or b""] = record.value
        finally:
            await consumer.stop()
    return found
