"""The records of `hookstream.fanout-idempotency-changelog`: the accepted records of each idempotency key.

Fan-out has them in its table; replay reads the changelog.
"""

from __future__ import annotations

from struct import Struct

import msgspec

_VERSION = b"\x01"
_RECORD = Struct(">IQQQ")
#: accepted records per key; the oldest are removed first. A key may be used once per window, a day by default
MAX_RECORDS = 32


class AcceptedRecord(msgspec.Struct, frozen=True):
    """One accepted record of an idempotency key."""

    partition: int
    offset: int
    #: the record's timestamp, in milliseconds since the epoch
    timestamp_ms: int
    #: the event's number within its ordering key, from 1; 0: it has no ordering key
    sequence: int


def encode(accepted: tuple[AcceptedRecord, ...]) -> bytes:
    """One version byte, then 28 bytes for each accepted record."""
    return _VERSION + b"".join(_RECORD.pack(s.partition, s.offset, s.timestamp_ms, s.sequence) for s in accepted)


def decode(stored: bytes) -> tuple[AcceptedRecord, ...]:
    """The accepted records of a stored value; none for another version, which costs a duplicate, never an event."""
    if stored[:1] != _VERSION or (len(stored) - 1) % _RECORD.size:
        return ()
    return tuple(AcceptedRecord(*numbers) for numbers in _RECORD.iter_unpack(stored[1:]))
