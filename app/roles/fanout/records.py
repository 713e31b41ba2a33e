"""The records of events.rejected and events.duplicates: what fan-out did not deliver, and why."""

from __future__ import annotations

from app.core.records import duplicate
from app.core.records import rejected as rejected_record
from app.core.records.headers import RecordHeader, size_of
from app.roles.fanout.plan import MAX_KEY_BYTES, DuplicateRecord, FanoutRules, RejectedRecord


def rejected(
    rejection: RejectedRecord, rules: FanoutRules, partition: int
) -> tuple[bytes | None, bytes | None, list[RecordHeader]]:
    """The record for events.rejected: original key, value and headers, then headers that say why and where from.

    A producer that compresses gets records into Kafka which do not fit out of it again: of those the beginning is kept.
    """
    record = rejection.record
    key, value, headers = record.key, record.value, list(record.headers)
    size = size_of(record)
    if size > rules.max_rejected_bytes:
        key, value = (key or b"")[:MAX_KEY_BYTES], (value or b"")[: rules.max_event_bytes]
        headers = [("rejected-truncated-from", b"%d" % size)]
    return key, value, headers + _why(rejection, rules.topic, partition)


def _why(rejection: RejectedRecord, topic: str, partition: int) -> list[RecordHeader]:
    return rejected_record.write(
        rejected_record.RejectedNotice(
            reason=rejection.reason,
            detail=rejection.detail,
            topic=topic,
            partition=partition,
            offset=rejection.record.offset,
            timestamp=rejection.record.timestamp,
        )
    )


def dropped(drop: DuplicateRecord, rules: FanoutRules, partition: int) -> tuple[bytes | None, list[RecordHeader]]:
    """Key (its beginning, where it is long) and headers of the record for events.duplicates."""
    said = duplicate.DuplicateNotice(
        tenant=drop.event.tenant,
        mode=drop.event.mode,
        idempotency_key=drop.key,
        event_id=drop.event.id,
        topic=rules.topic,
        partition=partition,
        offset=drop.record.offset,
        timestamp_ms=drop.record.timestamp,
        first_partition=drop.first.partition,
        first_offset=drop.first.offset,
        first_timestamp_ms=drop.first.timestamp_ms,
    )
    return (drop.record.key or b"")[:MAX_KEY_BYTES] or None, duplicate.write(said)
