"""The bytes of events, read from Kafka by their coordinates; the read model holds none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from app.core import delivery_record
from app.core.errors import Defect, MalformedEvent
from app.core.ingest import Coordinates, understand
from app.core.model import Delivery, Event
from app.core.topics import Names
from app.ports import Record
from app.ports.readmodel import DeliveryRow
from app.roles.api.calls import Services

T = TypeVar("T")
Spot = tuple[int, int]

#: what the clocks of two processes may differ by
_CLOCKS_MS = 60_000
_POLL_MS = 300
_POLLED = 500
#: polls in a row that bring nothing
_PATIENCE = 3

UNKNOWN = "it is not known where the event is in Kafka"
GONE = "Kafka keeps the event no longer (retention of events.raw)"


async def events_at(api: Services, spots: Iterable[Spot]) -> dict[Spot, tuple[Event, Record]]:
    """The events at these places of events.raw, with their records; what is gone, or no event, is missing."""
    topic = api.topics.name(Names.EVENTS_RAW)
    found = {}
    for spot, record in (await api.records.records(topic, set(spots))).items():
        event = understood(api, record)
        if event is not None:
            found[spot] = event, record
    return found


def understood(api: Services, record: Record) -> Event | None:
    """The event of a record of events.raw; None: it is none."""
    at = Coordinates(api.topics.name(Names.EVENTS_RAW), record.partition, record.offset, record.timestamp)
    try:
        return understand(record.value, record.headers, at, max_bytes=api.max_event_bytes)
    except MalformedEvent:
        return None


async def events_of(api: Services, rows: Iterable[DeliveryRow]) -> dict[str, Event]:
    """Delivery → its event, while Kafka keeps it."""
    chosen = [(row, row.source) for row in rows if row.source is not None]
    found = await events_at(api, (spot for _, spot in chosen))
    return {row.id: found[spot][0] for row, spot in chosen if spot in found and _belongs(found[spot][0], row)}


def _belongs(event: Event, row: DeliveryRow) -> bool:
    """Whether the place still holds what it held: topics can be made anew."""
    return (event.id, event.tenant, event.mode) == (row.event_id, row.tenant, row.mode)


async def put_aside(api: Services, row: DeliveryRow) -> Delivery | None:
    """A delivery as it stands in deliveries.dead, which is kept longer than events are."""
    topic = api.topics.name(Names.DELIVERIES_DEAD)
    number = api.partition_for(topic, row.endpoint_id.encode())

    def wanted(record: Record) -> Delivery | None:
        if ("delivery-id", row.id.encode()) not in record.headers:
            return None
        try:
            delivery = delivery_record.decode(record.key, record.value, record.headers)[0]
        except Defect:
            return None
        return None if delivery.omitted else delivery

    found, _ = await search(api, topic, [number], row.updated_at_ms - _CLOCKS_MS, wanted, most=5_000)
    return found


async def search(
    api: Services, topic: str, numbers: Iterable[int], since_ms: int, wanted: Callable[[Record], T | None], *, most: int
) -> tuple[T | None, bool]:
    """The first that `wanted` makes something of, among the first `most` records not older than `since_ms`.

    The second value says whether all were looked at.
    """
    starts = {number: await api.past.offset_at(topic, number, max(0, since_ms)) for number in numbers}
    ends = await api.past.ends(topic, list(starts))
    left = {number for number, start in starts.items() if start < ends[number]}
    if not left:
        return None, True
    reading = await api.past.open(topic, {number: starts[number] for number in left})
    try:
        read = idle = 0
        while left and read < most and idle < _PATIENCE:
            batches = await reading.poll(left, timeout_ms=_POLL_MS, max_records=_POLLED)
            idle = 0 if batches else idle + 1
            for records in batches.values():
                read += len(records)
                for record in records:
                    if (made := wanted(record)) is not None:
                        return made, True
            left = {number for number in left if await reading.position(number) < ends[number]}
        return None, not left
    finally:
        await reading.close()


def as_text(body: bytes) -> str:
    """A body for people."""
    return body.decode("utf-8", "replace")
