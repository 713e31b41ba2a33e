"""Is a partition read forward, or again after a reset of the group? (the table `positions`)

Rules of this file
- Our commits carry a mark in their metadata. A reset of the group (with Kafka's own tool, or by another client) writes
  an offset without it. So an unmarked offset below the highest processed one is a reset, also where the topic is quiet.
- What lies below the highest offset processed at that time is then a replay with an id of its own, so that its
  deliveries are new ones (DESIGN guarantee 3). A crash in a replay continues with the same id.
- A marked offset below the highest processed one is redelivery after a crash, not a replay.
- The checkpoint of a partition says how far the one event is delivered that was cut. It holds for the same bytes at the
  same offset in the same replay, and not after a reset, which asks for everything once more.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from app.core.model import ids
from app.core.records.record import ConsumedRecord


class ReadPosition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a partition's position."""

    #: the offset after the highest one processed
    high: int
    #: the last replay, and the offset at which it ends
    replay_id: str = ""
    replay_until: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far an event that was cut is delivered: its outputs are acknowledged up to the endpoint `after`."""

    offset: int
    #: of the record at that offset
    digest: str
    replay_id: str
    #: an endpoint's id
    after: str


_checkpoints = msgspec.json.Decoder(Checkpoint)
_positions = msgspec.json.Decoder(ReadPosition)
#: larger than any offset
_END = 1 << 63
_encoder = msgspec.json.Encoder()


def position_key(partition: int) -> bytes:
    """The key of a partition's position. (A store in memory holds all partitions in one.)"""
    return b"position/%d" % partition


def checkpoint_key(partition: int) -> bytes:
    """The key of a partition's checkpoint."""
    return b"checkpoint/%d" % partition


def read(stored: bytes | None) -> ReadPosition | None:
    """Decode a position; None for an absent value, and for one that fan-out cannot have written."""
    if stored is None:
        return None
    try:
        position = _positions.decode(stored)
    except (ValueError, RecursionError):
        return None
    return position if 0 <= position.high < _END and 0 <= position.replay_until < _END else None


def begin(
    stored: ReadPosition | None, group: str, partition: int, start: int, *, was_reset: bool, moved: bool = False
) -> ReadPosition:
    """The position after an assignment of a partition that is read from `start` on.

    `was_reset`: the commit there is not ours. `moved`: the log is not the one in which `stored` was reached.
    """
    if stored is None or moved:
        return ReadPosition(high=start)
    if was_reset and start < stored.high:
        replay = ids.replay_id(group, partition, start, stored.high)
        return msgspec.structs.replace(stored, replay_id=replay, replay_until=stored.high)
    return stored


def advance(position: ReadPosition, next_offset: int) -> ReadPosition:
    """The position after a batch that ends before `next_offset`."""
    return msgspec.structs.replace(position, high=max(position.high, next_offset))


def replay_of(position: ReadPosition, offset: int) -> str:
    """The id of the replay that a record belongs to; empty outside of replays."""
    return position.replay_id if offset < position.replay_until else ""


def write(position: ReadPosition) -> bytes:
    """Encode a position."""
    return _encoder.encode(position)


def checkpoint(record: ConsumedRecord, replay_id: str, after: str) -> Checkpoint:
    """The checkpoint of a record's event behind the endpoint `after`."""
    return Checkpoint(offset=record.offset, digest=_digest(record), replay_id=replay_id, after=after)


def is_of(checkpoint: Checkpoint, record: ConsumedRecord, replay_id: str) -> bool:
    """Whether a checkpoint belongs to the record's event. A topic that was recreated has other records there."""
    if checkpoint.offset != record.offset or checkpoint.replay_id != replay_id:
        return False
    return checkpoint.digest == _digest(record)


def read_checkpoint(stored: bytes | None) -> Checkpoint | None:
    """Decode a checkpoint; None for an absent value, and for one that fan-out cannot have written."""
    try:
        return _checkpoints.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        return None


def write_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Encode a checkpoint."""
    return _encoder.encode(checkpoint)


def _digest(record: ConsumedRecord) -> str:
    return blake2b(b"%d\0" % record.timestamp + (record.value or b""), digest_size=16).hexdigest()
