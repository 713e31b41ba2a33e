"""The records of events.rejected and events.duplicates: which records of events.raw were not delivered, and why."""

from __future__ import annotations

from app.core.errors import MalformedEvent
from app.core.model.event import Event
from app.core.records import duplicate, rejected
from app.core.records.headers import RecordHeader
from app.core.records.idempotency_entry import AcceptedRecord
from app.core.records.record import ConsumedRecord
from app.core.records.rejected import MAX_KEY_BYTES
from app.roles.fanout.rules import FanoutRules


def rejected_record(
    record: ConsumedRecord, error: MalformedEvent, rules: FanoutRules, partition: int, *, withheld: Event | None = None
) -> tuple[bytes | None, bytes | None, list[RecordHeader]]:
    """Key, value and headers for events.rejected; see `app.core.records.rejected`."""
    return rejected.rejected_record(
        record,
        error,
        topic=rules.topic,
        partition=partition,
        max_value_bytes=rules.max_event_bytes,
        max_record_bytes=rules.max_rejected_bytes,
        withheld=withheld,
    )


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
