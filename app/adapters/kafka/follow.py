"""Follow a topic from a time, or from its end: records as they are appended."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.scan import places_of
from app.ports.consumer import Record

#: milliseconds of one poll
_POLL_MS = 500


async def follow(
    clients: KafkaClients, topic: str, *, since_ms: int | None, until_end: bool
) -> AsyncGenerator[Record, None]:
    """Yield the records appended since a time (None: from now on); with `until_end`, up to the present end.

    Records of one partition come in order. Joins no group and commits nothing. Raises `Unavailable`, and
    `ConfigError` where the topic does not exist.
    """
    reader = clients.consumer("hookstream-cli", fetch_max_wait_ms=_POLL_MS)
    with clients.reachable():
        try:
            async with clients.connecting():
                await reader.start()
                places = await places_of(reader, [topic])
            reader.assign(places)
            ends = await reader.end_offsets(places)
            starts = await reader.offsets_for_times(dict.fromkeys(places, since_ms)) if since_ms is not None else {}
            for place in places:
                start = starts.get(place)
                reader.seek(place, ends[place] if start is None else start.offset)
            left = set(places)
            while left or not until_end:
                if until_end:
                    left = {place for place in left if await reader.position(place) < ends[place]}
                    if not left:
                        return
                for place, records in (await reader.getmany(timeout_ms=_POLL_MS)).items():
                    for record in records:
                        if not until_end or record.offset < ends[place]:
                            yield record
        finally:
            await reader.stop()
