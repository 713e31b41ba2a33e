"""Is a record a new event, the same record read again, or a producer's duplicate of an earlier one?

Rules of this file (DESIGN guarantee 4)
- The table stores, for each idempotency key of a tenant and mode, the records that were accepted for it, each with
  offset, timestamp and sequence. Nearly always there is one. A key that is used again after the TTL adds another, so
  that a replay of either finds its own.
- A record that is one of them is read again (redelivery, replay). It is processed, with its old sequence.
- A record for which an earlier one lies within the TTL is a duplicate. It is dropped and counted.
- Any other record is accepted: stored and processed.
The answer depends only on the records before it in the log, so a replay gives the same answers.
"""

from __future__ import annotations

import msgspec

from app.core.records.idempotency_entry import MAX_RECORDS, AcceptedRecord, decode, encode


class Redelivery(msgspec.Struct, frozen=True):
    """An accepted record that is read again: process it with its sequence."""

    accepted: AcceptedRecord


class DuplicateKey(msgspec.Struct, frozen=True):
    """Another record of the key within the TTL: drop it."""

    first: AcceptedRecord


class NewKey(msgspec.Struct, frozen=True):
    """A record to accept: process it, and store `with_record`."""

    others: tuple[AcceptedRecord, ...]

    def with_record(self, accepted: AcceptedRecord) -> bytes:
        """The table value with the accepted record added."""
        return encode(tuple(sorted((*self.others, accepted), key=lambda each: each.offset))[-MAX_RECORDS:])


def decide(
    stored: bytes | None, partition: int, offset: int, timestamp_ms: int, ttl_ms: int
) -> Redelivery | DuplicateKey | NewKey:
    """Judge the record at (partition, offset); `stored` is the table's value for its key."""
    if stored is None:
        return NewKey(())
    records = decode(stored)
    for accepted in records:
        if accepted.offset == offset and accepted.partition == partition:
            return Redelivery(accepted)
    for accepted in records:
        # Another partition: the producer changed the key between sends, so their timestamps are compared.
        earlier = accepted.offset < offset if accepted.partition == partition else accepted.timestamp_ms <= timestamp_ms
        if earlier and timestamp_ms - accepted.timestamp_ms < ttl_ms:
            return DuplicateKey(accepted)
    return NewKey(records)
