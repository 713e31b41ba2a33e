"""First sight: is this record a new event, the same event again, or a producer's duplicate of an earlier one?

Rules of this file (DESIGN guarantee 4)
- The table keeps, for each idempotency key of a tenant and mode, its *sights*: the records that were accepted as
  events, each with offset, timestamp and sequence. Nearly always there is one; a key that is used again after the TTL
  adds another, so that a replay of either finds its own.
- A record that is a sight itself is the same event again (redelivery, replay): process it, with its old sequence.
- A record for which an earlier sight lies within the TTL is a duplicate: drop and count.
- Anything else is a first sight: store and process.
The answer depends only on the records before it in the log, so a replay gives the same answers.
"""

from __future__ import annotations

import msgspec

from app.core.records.idempotency_entry import MAX_RECORDS, AcceptedRecord, decode, encode


class Redelivery(msgspec.Struct, frozen=True):
    """The same record seen again: process with its sequence."""

    sight: AcceptedRecord


class DuplicateKey(msgspec.Struct, frozen=True):
    """Another record of the same event within the TTL: drop."""

    first: AcceptedRecord


class NewKey(msgspec.Struct, frozen=True):
    """Never seen: process, and store `with_sight`."""

    others: tuple[AcceptedRecord, ...]

    def with_sight(self, sight: AcceptedRecord) -> bytes:
        """The table value that remembers it."""
        return encode(tuple(sorted((*self.others, sight), key=lambda each: each.offset))[-MAX_RECORDS:])


def decide(
    stored: bytes | None, partition: int, offset: int, timestamp_ms: int, ttl_ms: int
) -> Redelivery | DuplicateKey | NewKey:
    """Judge the record at (partition, offset); `stored` is the table's value for its key."""
    if stored is None:
        return NewKey(())
    sights = decode(stored)
    for sight in sights:
        if sight.offset == offset and sight.partition == partition:
            return Redelivery(sight)
    for sight in sights:
        # Another partition: the producer changed the key between sends, so offsets do not compare; time does.
        earlier = sight.offset < offset if sight.partition == partition else sight.timestamp_ms <= timestamp_ms
        if earlier and timestamp_ms - sight.timestamp_ms < ttl_ms:
            return DuplicateKey(sight)
    return NewKey(sights)
