"""The records of events.duplicates: which record of events.raw was dropped, and which earlier one it repeats.

The key is the dropped record's. There is no value: the bytes are in events.raw, at the coordinates in the headers. A
record of events.raw that is read again, after a crash or in a replay, is dropped again and causes another record here,
with the same coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from app.core.errors import Defect
from app.core.model.event import Mode
from app.core.records.headers import RecordHeader

_HEADERS = {
    "idempotency_key": "idempotency-key",
    "event_id": "event-id",
    "topic": "duplicate-topic",
    "partition": "duplicate-partition",
    "offset": "duplicate-offset",
    "timestamp_ms": "duplicate-timestamp",
    "first_partition": "first-partition",
    "first_offset": "first-offset",
    "first_timestamp_ms": "first-timestamp",
}


class DuplicateNotice(msgspec.Struct, frozen=True, kw_only=True, rename=_HEADERS):
    """The headers of a record of events.duplicates."""

    tenant: str
    mode: Mode
    #: the key that both records have: the producer's idempotency key, else the event's id
    idempotency_key: str
    #: the dropped event's id
    event_id: str
    #: the coordinates of the dropped record
    topic: str
    partition: int
    offset: int
    #: the timestamp of the dropped record, in milliseconds since the epoch
    timestamp_ms: int
    #: the coordinates of the record that was delivered, in the same topic
    first_partition: int
    first_offset: int
    #: the timestamp of that record, in milliseconds since the epoch
    first_timestamp_ms: int


def write(dropped: DuplicateNotice) -> list[RecordHeader]:
    """The headers of a record."""
    return [(name, str(value).encode()) for name, value in msgspec.to_builtins(dropped).items()]


def read(headers: Iterable[RecordHeader]) -> DuplicateNotice:
    """The notice of a record's headers. Raises `Defect` when one is missing or malformed."""
    try:
        named = {name: text.decode() for name, text in headers if text is not None}
        return msgspec.convert(named, DuplicateNotice, strict=False)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Defect(f"a record of events.duplicates cannot be decoded: {error}") from error
