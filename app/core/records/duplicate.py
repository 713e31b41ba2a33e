"""The records of events.duplicates: which record of events.raw was dropped, and which earlier one it repeats.

They have no value: the bytes are in events.raw, at the coordinates that the headers name. A record that is read again
(after a crash, in a replay) is dropped again and told again, with the same coordinates.
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
    """The headers of a record of events.duplicates; the key is the dropped record's."""

    tenant: str
    mode: Mode
    #: what had been seen before: the producer's key, else the event's id
    idempotency_key: str
    #: of the dropped event
    event_id: str
    #: where the dropped record stands
    topic: str
    partition: int
    offset: int
    #: of the dropped record, in milliseconds
    timestamp_ms: int
    #: where the record stands that was delivered instead, in the same topic
    first_partition: int
    first_offset: int
    #: of that record, in milliseconds
    first_timestamp_ms: int


def write(dropped: DuplicateNotice) -> list[RecordHeader]:
    """The headers."""
    return [(name, str(value).encode()) for name, value in msgspec.to_builtins(dropped).items()]


def read(headers: Iterable[RecordHeader]) -> DuplicateNotice:
    """The reverse; `Defect` when it is not ours."""
    try:
        named = {name: text.decode() for name, text in headers if text is not None}
        return msgspec.convert(named, DuplicateNotice, strict=False)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Defect(f"a record of events.duplicates is not readable: {error}") from error
