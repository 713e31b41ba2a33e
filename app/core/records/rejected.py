"""The records of events.rejected: the rejected record, with headers that say why it was rejected, and where it is.

The rejected record is one of events.raw, or of a topic that an input reads. The headers follow those of
the rejected record itself, which the producer chose: the last header of a name is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from app.core.errors import Defect, MalformedEvent
from app.core.model.event import Event
from app.core.records.headers import RecordHeader, size_of
from app.core.records.record import ConsumedRecord

_PREFIX = "rejected-"
#: bytes of `detail`
_MAX_DETAIL = 1024
#: Bytes of a producer's key that a record about it repeats. A producer that compresses can write a longer key than our
#: topics accept.
MAX_KEY_BYTES = 1024


class RejectedNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected record: the reason, and its coordinates in events.raw or in an input's topic."""

    #: one word, such as `not_json`
    reason: str
    #: one sentence
    detail: str
    topic: str
    partition: int
    offset: int
    #: milliseconds
    timestamp: int


def write(notice: RejectedNotice) -> list[RecordHeader]:
    """The headers to append to those of the rejected record."""
    return [
        (_PREFIX + name, str(value).encode("utf-8", "replace")[:_MAX_DETAIL])
        for name, value in msgspec.to_builtins(notice).items()
    ]


def rejected_record(
    record: ConsumedRecord,
    error: MalformedEvent,
    *,
    topic: str,
    partition: int,
    max_value_bytes: int,
    max_record_bytes: int,
    withheld: Event | None = None,
) -> tuple[bytes | None, bytes | None, list[RecordHeader]]:
    """Key, value and headers for events.rejected: the original ones, then headers with the reason and the coordinates.

    A record that was compressed by its producer may be larger than `max_record_bytes`. It is truncated then, and a
    header says which size it had. `withheld`: an event with a subject, of which only id,
    type, tenant and mode are written.
    """
    key, value, headers = record.key, record.value, list(record.headers)
    size = size_of(record)
    if withheld is not None:
        value, headers = None, _names_of(withheld)
    elif size > max_record_bytes:
        key, value = (key or b"")[:MAX_KEY_BYTES], (value or b"")[:max_value_bytes]
        headers = [("rejected-truncated-from", b"%d" % size)]
    notice = RejectedNotice(
        reason=error.reason,
        detail=error.detail,
        topic=topic,
        partition=partition,
        offset=record.offset,
        timestamp=record.timestamp,
    )
    return key, value, headers + write(notice)


def _names_of(event: Event) -> list[RecordHeader]:
    """The headers that name an event, as those of a binary CloudEvent."""
    names = {"ce_id": event.id, "ce_type": event.type, "tenant": event.tenant, "mode": event.mode}
    return [*((name, text.encode()) for name, text in names.items()), ("rejected-withheld", b"subject")]


def read(headers: Iterable[RecordHeader]) -> RejectedNotice:
    """The notice in the headers of a record. Raises `Defect` when they hold none."""
    try:
        named = {
            name.removeprefix(_PREFIX): text.decode("utf-8", "replace")
            for name, text in headers
            if name.startswith(_PREFIX) and text is not None
        }
        return msgspec.convert(named, RejectedNotice, strict=False)
    except msgspec.ValidationError as error:
        raise Defect(f"a record of events.rejected is not readable: {error}") from error
