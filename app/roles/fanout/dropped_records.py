"""The records of events.rejected and events.duplicates: which records of events.raw were not delivered, and why."""

from __future__ import annotations

from app.core.errors import MalformedEvent
from app.core.model.event import Event
from app.core.records import duplicate, rejected
from app.core.records.headers import RecordHeader, size_of
from app.core.records.idempotency_entry import AcceptedRecord
from app.core.records.record import ConsumedRecord
from app.roles.fanout.rules import FanoutRules

#: Bytes of a producer's key that a record about it repeats. A producer that compresses can write a longer key than our
#: topics accept.
MAX_KEY_BYTES = 1024


def rejected_record(
    record: ConsumedRecord, error: MalformedEvent, rules: FanoutRules, partition: int
) -> tuple[bytes | None, bytes | None, list[RecordHeader]]:
    """Key, value and headers for events.rejected: the original ones, then headers with the reason and the coordinates.

    A record that was compressed by its producer may be too large for events.rejected. It is truncated then, and a
    header says which size it had.
    """
    key, value, headers = record.key, record.value, list(record.headers)
    size = size_of(record)
    if size > rules.max_rejected_bytes:
        key, value = (key or b"")[:MAX_KEY_BYTES], (value or b"")[: rules.max_event_bytes]
        headers = [("rejected-truncated-from", b"%d" % size)]
    notice = rejected.RejectedNotice(
        reason=error.reason,
        detail=error.detail,
        topic=rules.topic,
        partition=partition,
        offset=record.offset,
        timestamp=record.timestamp,
    )
    return key, value, headers + rejected.write(notice)


def duplicate_record(
    record: ConsumedRecord, key: str, event: Event, first: AcceptedRecord, rules: FanoutRules, partition: int
) -> tuple[bytes | None, list[RecordHeader]]:
    """Record key (clipped to `MAX_KEY_BYTES`) and headers for events.duplicates.

    `key` is the idempotency key, or the event's id where it has none; `first` is the record that was accepted for it.
    """
    notice = duplicate.DuplicateNotice(
        tenant=event.tenant,
        mode=event.mode,
        idempotency_key=key,
        event_id=event.id,
        topic=rules.topic,
        partition=partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        first_partition=first.partition,
        first_offset=first.offset,
        first_timestamp_ms=first.timestamp_ms,
    )
    return (record.key or b"")[:MAX_KEY_BYTES] or None, duplicate.write(notice)
