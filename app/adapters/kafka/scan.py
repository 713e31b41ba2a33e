"""Read topics once, up to their present end: the latest value of each key, or the newest records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from app.adapters.kafka.clients import AioConsumer, KafkaClients
from app.adapters.kafka.metadata import missing_topics, seen_topics
from app.ports.consumer import Record


async def latest(clients: KafkaClients, topic: str, partition: int) -> dict[bytes, bytes]:
    """Key → its latest value, without deleted keys.

    Raises `Unavailable`, and `ConfigError` where the topic does not exist.
    """
    place = TopicPartition(topic, partition)
    reader = clients.consumer("hookstream-cli")
    values: dict[bytes, bytes] = {}
    with clients.reachable():
        try:
            async with clients.connecting():
                await reader.start()
            await places_of(reader, [topic])
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
    """The newest `limit` results of `wanted` other than None, for records appended since `since_ms`; oldest first.

    Raises `Unavailable`, and `ConfigError` where the topic does not exist.
    """
    reader = clients.consumer("hookstream-cli")
    # (timestamp, partition, offset) is unique, so that the results themselves are never compared
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


#: offsets before the end in which a record is looked for; the others may be markers of transactions
_LAST_OFFSETS = 20


async def last_record(clients: KafkaClients, topics: Sequence[str]) -> Record | None:
    """The record with the latest timestamp among the last ones of all partitions; None if there are none.

    Raises `Unavailable`, and `ConfigError` where a topic does not exist.
    """
    reader = clients.consumer("hookstream-cli")
    last: Record | None = None
    with clients.reachable():
        try:
            async with clients.connecting():
                await reader.start()
            places = await places_of(reader, topics)
            begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
            left = {place: int(ends[place]) for place in places if ends[place] > begins[place]}
            reader.assign(list(left))
            for place, end in left.items():
                reader.seek(place, max(int(begins[place]), end - _LAST_OFFSETS))
            while left:
                for records in (await reader.getmany(*left, timeout_ms=500)).values():
                    for record in records:
                        if last is None or record.timestamp >= last.timestamp:
                            last = record
                left = {place: end for place, end in left.items() if await reader.position(place) < end}
        finally:
            await reader.stop()
    return last


async def places_of(reader: AioConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """All partitions of the topics, in order.

    Raises `ConfigError` where a topic does not exist, and aiokafka's error where Kafka does not show it.
    """
    seen = await seen_topics(reader._client, topics)
    if seen.hidden:
        raise TopicAuthorizationFailedError(f"no right to describe {', '.join(sorted(seen.hidden))}")
    missing = [topic for topic in topics if topic not in seen.facts]
    if missing:
        raise missing_topics(missing)
    return [TopicPartition(topic, number) for topic in topics for number in range(seen.facts[topic].partitions)]


async def _begin(reader: AioConsumer, topic: str, since_ms: int) -> dict[TopicPartition, int]:
    """Seek to the first records of the time. Returns partition → end offset, for partitions with such records."""
    places = await places_of(reader, [topic])
    ends = await reader.end_offsets(places)
    starts = await reader.offsets_for_times(dict.fromkeys(places, since_ms))
    begins = {place: start.offset for place, start in starts.items() if start is not None}
    left = {place: int(ends[place]) for place, start in begins.items() if start < ends[place]}
    reader.assign(list(left))
    for place in left:
        reader.seek(place, begins[place])
    return left
