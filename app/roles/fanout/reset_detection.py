"""Is this partition read forward, or again after somebody reset the group? (the table `positions`)

Rules of this file
- Our commits carry a mark in their metadata, and whoever resets a group (Kafka's own tool, another client) writes an
  offset without it. So an unmarked offset below the highest processed one is a reset, also where the topic is quiet.
- What lies below the highest offset processed at that time is then a replay, with an id of its own, so that its
  deliveries are new ones (DESIGN guarantee 3). A crash in a replay goes on with the same id.
- A marked offset below the highest processed one is redelivery after a crash, not a replay.
- The checkpoint of a partition says how far its one event is that was cut. It holds for the same bytes at the same
  offset in the same replay, and not behind a reset: who resets a group wants everything once more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol

import msgspec

from app.core.model import ids


class ReadPosition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of the table `positions`."""

    #: the offset after the highest one processed
    high: int
    #: the last replay, and the offset at which it ends
    replay_id: str = ""
    replay_until: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was cut: everything is acknowledged that it causes for endpoints up to `after`."""

    offset: int
    #: of the record at that offset
    digest: str
    replay_id: str
    #: an endpoint's id
    after: str


class _Read(Protocol):
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


_checkpoints = msgspec.json.Decoder(Checkpoint)
_decoder = msgspec.json.Decoder(ReadPosition)
#: no offset is as large
_END = 1 << 63
_encoder = msgspec.json.Encoder()


def read(stored: bytes | None) -> ReadPosition | None:
    """The table's value; None: nothing known (what we cannot have written counts as that)."""
    if stored is None:
        return None
    try:
        position = _decoder.decode(stored)
    except (ValueError, RecursionError):
        return None
    return position if 0 <= position.high < _END and 0 <= position.replay_until < _END else None


def begin(
    known: ReadPosition | None, group: str, partition: int, start: int, *, was_reset: bool, moved: bool = False
) -> ReadPosition:
    """Reading of a partition begins at `start` after an assignment; `was_reset`: the commit there is not ours.

    `moved`: the log is not the one in which other positions were reached.
    """
    if known is None or moved:
        return ReadPosition(high=start)
    if was_reset and start < known.high:
        replay = ids.replay_id(group, partition, start, known.high)
        return msgspec.structs.replace(known, replay_id=replay, replay_until=known.high)
    return known


def advance(position: ReadPosition, next_offset: int) -> ReadPosition:
    """A batch that ends before `next_offset` was processed."""
    return msgspec.structs.replace(position, high=max(position.high, next_offset))


def replay_of(position: ReadPosition, offset: int) -> str:
    """The replay that a record belongs to; empty: none."""
    return position.replay_id if offset < position.replay_until else ""


def write(position: ReadPosition) -> bytes:
    """The table's value."""
    return _encoder.encode(position)


def checkpoint(record: _Read, replay_id: str, after: str) -> Checkpoint:
    """The checkpoint of a record's event behind the endpoint `after`."""
    return Checkpoint(offset=record.offset, digest=_digest(record), replay_id=replay_id, after=after)


def is_of(known: Checkpoint, record: _Read, replay_id: str) -> bool:
    """Whether the record's event goes on behind a checkpoint (a topic made again has other records there)."""
    if known.offset != record.offset or known.replay_id != replay_id:
        return False
    return known.digest == _digest(record)


def read_checkpoint(stored: bytes | None) -> Checkpoint | None:
    """The table's value; None: there is none (what we cannot have written counts as that)."""
    try:
        return _checkpoints.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        return None


def write_checkpoint(known: Checkpoint) -> bytes:
    """The table's value."""
    return _encoder.encode(known)


def _digest(record: _Read) -> str:
    return blake2b(b"%d\0" % record.timestamp + (record.value or b""), digest_size=16).hexdigest()
