"""The entries of fan-out's idempotency table and its changelog."""

from __future__ import annotations

from struct import Struct

import msgspec

_VERSION = b"\x01"
_SIGHT = Struct(">IQQQ")
#: sights kept per key; the oldest leave first (a key used again on each of 32 days of retention is no accident)
MAX_SIGHTS = 32


class AcceptedRecord(msgspec.Struct, frozen=True):
    """One accepted record of a key."""

    partition: int
    offset: int
    timestamp_ms: int
    #: its number within the ordering key, from 1; 0: it has no ordering key
    sequence: int


def encode(sights: tuple[AcceptedRecord, ...]) -> bytes:
    """One version byte, then 28 bytes for each sight."""
    return _VERSION + b"".join(_SIGHT.pack(s.partition, s.offset, s.timestamp_ms, s.sequence) for s in sights)


def decode(stored: bytes) -> tuple[AcceptedRecord, ...]:
    """The reverse; a value of another version counts as nothing stored (costs a duplicate, never an event)."""
    if stored[:1] != _VERSION or (len(stored) - 1) % _SIGHT.size:
        return ()
    return tuple(AcceptedRecord(*numbers) for numbers in _SIGHT.iter_unpack(stored[1:]))
