"""Rows of the index of events, from the records of `events.raw`, `events.rejected` and `events.duplicates`.

Rules of this file
- A row belongs to one record of events.raw; its partition and offset there are its key.
- The three topics are read independently, and again after a rebuild: `merged` gives the same row in any order.
- Only fan-out decides whether an event is rejected: what cannot be parsed here has an outcome once events.rejected
  has it.
- Whether an event matched an endpoint is not stored. A row with deliveries matched; the query looks for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from app.core.errors import MalformedEvent
from app.core.model.event_types import is_event_type
from app.core.readmodel.column_values import LARGEST, as_name, as_number, as_text
from app.core.records import duplicate, rejected
from app.core.records.headers import RecordHeader
from app.core.records.raw_event import Coordinates, decode_event, is_tenant
from app.core.records.record import ConsumedRecord
from app.core.topics.names import TopicName

#: the topics that the index is made of
EVENT_TOPICS = (TopicName.EVENTS_RAW, TopicName.EVENTS_REJECTED, TopicName.EVENTS_DUPLICATES)
_MODES = ("live", "test")
_LARGEST_PARTITION = 2**31 - 1


class RawEventFormat(msgspec.Struct, frozen=True):
    """The settings that the reading of events.raw depends on."""

    #: the topic's full name, which derived event ids contain
    topic: str = "events.raw"
    max_event_bytes: int = 256 * 1024


class IndexedEvent(msgspec.Struct, kw_only=True):
    """A row of the index. A text is empty while no record has it, or when it could not be read."""

    partition: int
    offset: int
    #: the timestamp of the record of events.raw
    at_ms: int
    tenant: str = ""
    mode: str = ""
    event_id: str = ""
    event_type: str = ""
    ordering_key: str | None = None
    outcome: Literal["rejected", "duplicate"] | None = None
    #: why it was rejected: one word, and one sentence
    reason: str | None = None
    detail: str | None = None
    #: of a duplicate: the record that was accepted first
    first_partition: int | None = None
    first_offset: int | None = None
    first_ms: int | None = None


def was_in_events_raw(topic: str, record: ConsumedRecord, form: RawEventFormat) -> bool:
    """Whether a record of one of `EVENT_TOPICS` is about one of events.raw; an input's rejected records are not.

    Raises `Defect`.
    """
    return topic != TopicName.EVENTS_REJECTED or rejected.read(record.headers).topic == form.topic


def index_row(topic: str, record: ConsumedRecord, form: RawEventFormat) -> IndexedEvent:
    """The row of a record of one of `EVENT_TOPICS`. Raises `Defect` and `ValueError`."""
    if topic == TopicName.EVENTS_RAW:
        return _from_raw(record, form)
    return _from_rejected(record, form) if topic == TopicName.EVENTS_REJECTED else _from_duplicate(record)


def _from_raw(record: ConsumedRecord, form: RawEventFormat) -> IndexedEvent:
    row = IndexedEvent(partition=record.partition, offset=record.offset, at_ms=max(0, record.timestamp))
    at = Coordinates(form.topic, record.partition, record.offset, record.timestamp)
    try:
        event = decode_event(record.value, record.headers, at, max_bytes=form.max_event_bytes)
    except MalformedEvent:
        _describe(row, record, form)
        return row
    row.tenant, row.mode = as_name(event.tenant), event.mode
    row.event_id, row.event_type = as_name(event.id), as_name(event.type)
    row.ordering_key = as_text(event.ordering_key) if event.ordering_key is not None else None
    return row


def _from_rejected(record: ConsumedRecord, form: RawEventFormat) -> IndexedEvent:
    notice = rejected.read(record.headers)
    row = IndexedEvent(
        partition=as_number(notice.partition, _LARGEST_PARTITION),
        offset=as_number(notice.offset, LARGEST),
        at_ms=as_number(max(0, notice.timestamp), LARGEST),
        outcome="rejected",
        reason=as_name(notice.reason),
        detail=as_text(notice.detail),
    )
    _describe(row, record, form)
    return row


def _from_duplicate(record: ConsumedRecord) -> IndexedEvent:
    notice = duplicate.read(record.headers)
    return IndexedEvent(
        partition=as_number(notice.partition, _LARGEST_PARTITION),
        offset=as_number(notice.offset, LARGEST),
        at_ms=as_number(max(0, notice.timestamp_ms), LARGEST),
        tenant=as_name(notice.tenant),
        mode=notice.mode,
        event_id=as_name(notice.event_id),
        outcome="duplicate",
        first_partition=as_number(notice.first_partition, _LARGEST_PARTITION),
        first_offset=as_number(notice.first_offset, LARGEST),
        first_ms=as_number(max(0, notice.first_timestamp_ms), LARGEST),
    )


def merged(rows: Iterable[IndexedEvent]) -> list[IndexedEvent]:
    """One row for each key, in the order of the keys. The database merges rows of two writes by the same rule."""
    by_key: dict[tuple[int, int], IndexedEvent] = {}
    for row in rows:
        key = row.partition, row.offset
        there = by_key.get(key)
        by_key[key] = row if there is None else _merge(there, row)
    return [by_key[key] for key in sorted(by_key)]


def _merge(there: IndexedEvent, row: IndexedEvent) -> IndexedEvent:
    """Of two records at one place the newer one: the topic was created again. Of one record what either row has."""
    if row.at_ms != there.at_ms:
        return row if row.at_ms > there.at_ms else there
    fields: dict[str, Any] = {
        name: getattr(row, name) or getattr(there, name) if name not in _NUMBERS else _either(row, there, name)
        for name in IndexedEvent.__struct_fields__
    }
    return IndexedEvent(**fields)


_NUMBERS = frozenset(("first_partition", "first_offset", "first_ms"))


def _either(row: IndexedEvent, there: IndexedEvent, name: str) -> int | None:
    value: int | None = getattr(row, name)
    return value if value is not None else getattr(there, name)


class _Claims(msgspec.Struct):
    """Fields of a value that is no event, whatever their types are."""

    type: Any = None
    id: Any = None
    tenant: Any = None
    mode: Any = None


_claims = msgspec.json.Decoder(_Claims)


def _describe(row: IndexedEvent, record: ConsumedRecord, form: RawEventFormat) -> None:
    """Fill in the id, type, tenant and mode of a record that is no event, as far as they can be read.

    The tenant is the one that the event would belong to; it stays empty where it is not readable.
    """
    try:
        named = _header_texts(record.headers)
    except UnicodeDecodeError:
        return
    claims = _Claims()
    value = record.value or b""
    if len(value) <= form.max_event_bytes:
        try:
            claims = _claims.decode(value)
        except (ValueError, RecursionError):
            pass
    tenant = named.get("tenant") or claims.tenant or "default"
    mode = named.get("mode") or claims.mode or "live"
    row.event_id = _name(named.get("ce_id") or claims.id)
    event_type = _name(named.get("ce_type") or claims.type)
    row.event_type = event_type if is_event_type(event_type) else event_type[:_SHOWN_TYPE]
    if isinstance(tenant, str) and is_tenant(tenant) and mode in _MODES:
        row.tenant, row.mode = tenant, mode


#: characters of a text that is not a valid event type
_SHOWN_TYPE = 100


def _header_texts(headers: Iterable[RecordHeader]) -> dict[str, str]:
    return {
        name.lower(): (text or b"").decode()
        for name, text in headers
        if name.lower() in ("tenant", "mode", "ce_id", "ce_type")
    }


def _name(text: object) -> str:
    try:
        return as_name(text) if isinstance(text, str) else ""
    except ValueError:
        return ""
