"""Read one partition of a compacted topic from its beginning to its present end, once."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeVar

from aiokafka import TopicPartition

from app.adapters.kafka.clients import AioConsumer, KafkaClients
from app.core.errors import ConfigError
from app.ports.consumer import Record


async def latest(clients: KafkaClients, topic: str, partition: int) -> dict[bytes, bytes]:
    """Key → the latest value, of keys that have one. Raises `Unavailable`."""
    place = TopicPartition(topic, partition)
    reader = clients.consumer("hookstream-cli")
    values: dict[bytes, bytes] = {}
    with clients.reachable():
        try:
            async with clients.connecting():
                await reader.start()
            reader.assign([place])
            await reader.seek_to_beginning(place)
            end = (await reader.end_offsets([place]))[place]
            while await reader.position(place) < end:
                for record in (await reader.getmany(place, timeout_ms=500)).get(place, []):
                    if record.value is None:
                        values.pop(record.key or b"", None)
                    else:
                        values[record.key or b""] = record.value
        finally:
            await reader.stop()
    return values


T = TypeVar("T")


async def newest(
    clients: KafkaClients, topic: str, *, since_ms: int, limit: int, wanted: Callable[[Record], T | None]
) -> list[T]:
    """What `wanted` makes of records appended at or after `since_ms`: the newest `limit`, oldest first.

    Raises `Unavailable`, and `ConfigError` where the topic does not exist.
    """
    reader = clients.consumer("hookstream-cli")
    # (timestamp, partition, offset) differs for all records, so that the rest is never compared
    newest_entries: list[tuple[tuple[int, int, int], T]] = []
    with clients.reachable():
        try:
            async with clients.connecting():
                await reader.start()
            left = await _begin(reader, topic, since_ms)
            while left:
                for place, records in (await reader.getmany(*left, timeout_ms=500)).items():
                    for record in records:
                        made = wanted(record) if record.offset < left[place] else None
                        if made is not None:
                            entry = ((record.timestamp, record.partition, record.offset), made)
                            heappush(newest_entries, entry)
                            if len(newest_entries) > limit:
                                heappop(newest_entries)
                left = {place: end for place, end in left.items() if await reader.position(place) < end}
        finally:
            await reader.stop()
    return [made for _, made in sorted(newest_entries, key=lambda each: each[0])]


async def _begin(reader: AioConsumer, topic: str, since_ms: int) -> dict[TopicPartition, int]:
    """Go to where the time begins; partition → its end, where there is something to read."""
    cluster = await reader._client.fetch_all_metadata()
    numbers = cluster.partitions_for_topic(topic)
    if not numbers:
        raise ConfigError([f"topic {topic} does not exist: run `hookstream topics apply`"])
    places = [TopicPartition(topic, number) for number in sorted(numbers)]
    ends = await reader.end_offsets(places)
    starts = await reader.offsets_for_times(dict.fromkeys(places, since_ms))
    begins = {place: start.offset for place, start in starts.items() if start is not None}
    left = {place: int(ends[place]) for place, start in begins.items() if start < ends[place]}
    reader.assign(list(left))
    for place in left:
        reader.seek(place, begins[place])
    return left
