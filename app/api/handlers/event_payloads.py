"""The bytes of events, read from Kafka by their coordinates; the read model holds no payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from app.api.request import ApiServices
from app.core.errors import Defect, MalformedEvent
from app.core.model.delivery import Delivery
from app.core.model.event import Event
from app.core.readmodel.rows import DeliveryRow
from app.core.records import delivery as delivery_record
from app.core.records.raw_event import Coordinates, decode_event
from app.core.topics.names import TopicName
from app.core.transforms.redacted_fields import redacted_body
from app.ports.consumer import Record
from app.ports.history import PartitionReader

T = TypeVar("T")
Spot = tuple[int, int]

#: milliseconds by which the clocks of two processes may differ
_CLOCKS_MS = 60_000
_POLL_MS = 300
_POLLED = 500
#: consecutive polls without records
_PATIENCE = 3
#: seconds after which a search begins no further partition
_SEARCH_S = 15.0
_DEAD_SEARCHED = 50_000

UNKNOWN = "the coordinates of the event in Kafka are unknown"
REJECTED = "the record is not a valid event; `hookstream events rejected` shows where it is"
#: in place of an explanation, which may quote a hidden value
HIDDEN_VALUES = "the event does not meet this condition; its values are not shown, because the tenant hides fields"
HAS_HIDDEN_FIELDS = "built from the event with the tenant's hidden fields replaced; the receiver got their values"
GONE = "Kafka no longer has the event (retention of events.raw), or its subject was erased"


async def events_at(api: ApiServices, spots: Iterable[Spot]) -> dict[Spot, tuple[Event, Record]]:
    """The events at these coordinates of events.raw, with their records. Deleted and invalid records are left out."""
    topic = api.topics.name(TopicName.EVENTS_RAW)
    events = {}
    for spot, record in (await api.records.records(topic, set(spots))).items():
        event = understood(api, record)
        if event is not None:
            events[spot] = event, record
    return events


def understood(api: ApiServices, record: Record) -> Event | None:
    """The event of a record of events.raw; None if it cannot be decoded, or its subject was erased."""
    at = Coordinates(api.topics.name(TopicName.EVENTS_RAW), record.partition, record.offset, record.timestamp)
    try:
        event = decode_event(record.value, record.headers, at, max_bytes=api.max_event_bytes)
    except MalformedEvent:
        return None
    return None if event.subject is not None and api.subjects.is_erased(event, record.timestamp) else event


def hidden_fields(api: ApiServices, tenant: str) -> tuple[str, ...]:
    """The paths in the data of a tenant's events whose values are not shown."""
    entry = api.feed.directory.tenants.get(tenant)
    return entry.redact if entry is not None else ()


def shown_event(api: ApiServices, event: Event) -> Event:
    """The event as it is shown: the values of its tenant's hidden fields are replaced."""
    paths = hidden_fields(api, event.tenant)
    if not paths:
        return event
    return msgspec.structs.replace(event, body=redacted_body(event.body, event.format, paths))


async def events_of(api: ApiServices, rows: Iterable[DeliveryRow]) -> dict[str, Event]:
    """Delivery id → event, for events that Kafka still has."""
    chosen = [(row, row.source) for row in rows if row.source is not None]
    events = await events_at(api, (spot for _, spot in chosen))
    return {row.id: events[spot][0] for row, spot in chosen if spot in events and _belongs(events[spot][0], row)}


def _belongs(event: Event, row: DeliveryRow) -> bool:
    """Whether the record is the delivery's event, since a recreated topic has other records at the same offsets."""
    return (event.id, event.tenant, event.mode) == (row.event_id, row.tenant, row.mode)


async def parked_delivery(api: ApiServices, row: DeliveryRow) -> Delivery | None:
    """The delivery from its record in deliveries.dead, whose retention exceeds that of events.raw."""
    topic = api.topics.name(TopicName.DELIVERIES_DEAD)
    number = api.partition_for(topic, row.endpoint_id.encode())

    def wanted(record: Record) -> Delivery | None:
        if ("delivery-id", row.id.encode()) not in record.headers:
            return None
        try:
            delivery = delivery_record.decode(record.key, record.value, record.headers)[0]
        except Defect:
            return None
        return None if delivery.omitted else delivery

    if row.dead_offset is not None:
        spot = number, row.dead_offset
        record = (await api.records.records(topic, {spot})).get(spot)
        return wanted(record) if record is not None else None
    # rows that an older version has written lack the offset
    seen = await search(api, topic, [number], row.updated_at_ms - _CLOCKS_MS, wanted, most=_DEAD_SEARCHED)
    return seen.result


class Searched(NamedTuple, Generic[T]):
    """The result of a search."""

    result: T | None
    #: number of records read
    read: int
    #: where another search continues; None: all records were read
    after: Spot | None


async def search(
    api: ApiServices,
    topic: str,
    numbers: Iterable[int],
    since_ms: int,
    wanted: Callable[[Record], T | None],
    *,
    most: int,
    after: Spot | None = None,
) -> Searched[T]:
    """The first result of `wanted` that is not None, among records since `since_ms`.

    Reads about `most` records, and for some seconds, one partition after the other, so that the end of the search is
    one position, from which `after` continues.
    """
    until_s = api.clock.monotonic() + _SEARCH_S
    chosen = sorted(number for number in numbers if after is None or number >= after[0])
    ends = await api.past.ends(topic, chosen) if chosen else {}
    starts = {number: await api.past.offset_at(topic, number, max(0, since_ms)) for number in chosen}
    if after is not None and after[0] in starts:
        starts[after[0]] = after[1]
    left = [number for number in chosen if starts[number] < ends[number]]
    if not left:
        return Searched(None, 0, None)
    reading = await api.past.open(topic, {number: starts[number] for number in left})
    read = 0
    try:
        for number in left:
            result, looked, at = await _through(reading, number, (starts[number], ends[number]), wanted, most - read)
            read += looked
            if result is not None or at < ends[number]:
                return Searched(result, read, (number, at))
            if number != left[-1] and (read >= most or api.clock.monotonic() >= until_s):
                return Searched(None, read, (number, at))
        return Searched(None, read, None)
    finally:
        await reading.close()


async def _through(
    reading: PartitionReader, number: int, span: Spot, wanted: Callable[[Record], T | None], most: int
) -> tuple[T | None, int, int]:
    """Search a partition from `span[0]` to `span[1]`: the result, the number of records read, and the next offset."""
    read = idle = 0
    at = span[0]
    while at < span[1] and read < most and idle < _PATIENCE:
        records = (await reading.poll({number}, timeout_ms=_POLL_MS, max_records=_POLLED)).get(number, [])
        idle = 0 if records else idle + 1
        read += len(records)
        for record in records:
            if (result := wanted(record)) is not None:
                return result, read, record.offset + 1
        at = await reading.position(number)
    return None, read, at


def as_text(body: bytes) -> str:
    """A body as text."""
    return body.decode("utf-8", "replace")
