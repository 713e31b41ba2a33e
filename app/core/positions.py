"""Is this partition read forward, or again after somebody reset the group? (the table `positions`)

Rules of this file
- Our commits carry a mark in their metadata, and whoever resets a group (Kafka's own tool, another client) writes an
  offset without it. So an unmarked offset below the highest processed one is a reset, also where the topic is quiet.
- What lies below the highest offset processed at that time is then a replay, with an id of its own, so that its
  deliveries are new ones (DESIGN guarantee 3). A crash in a replay goes on with the same id.
- A marked offset below the highest processed one is redelivery after a crash, not a replay.
"""

from __future__ import annotations

import msgspec

from app.core import ids

#: the metadata of our commits
COMMIT_MARK = "hookstream"


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of the table `positions`."""

    #: the offset after the highest one processed
    high: int
    #: the last replay, and the offset at which it ends
    replay_id: str = ""
    replay_until: int = 0


_decoder = msgspec.json.Decoder(Position)
#: no offset is as large
_END = 1 << 63
_encoder = msgspec.json.Encoder()


def read(stored: bytes | None) -> Position | None:
    """The table's value; None: nothing known (what we cannot have written counts as that)."""
    if stored is None:
        return None
    try:
        position = _decoder.decode(stored)
    except (ValueError, RecursionError):
        return None
    return position if 0 <= position.high < _END and 0 <= position.replay_until < _END else None


def begin(known: Position | None, group: str, partition: int, start: int, *, was_reset: bool) -> Position:
    """Reading of a partition begins at `start` after an assignment; `was_reset`: the commit there is not ours."""
    if known is None:
        return Position(high=start)
    if was_reset and start < known.high:
        replay = ids.replay_id(group, partition, start, known.high)
        return msgspec.structs.replace(known, replay_id=replay, replay_until=known.high)
    return known


def advance(position: Position, next_offset: int) -> Position:
    """A batch that ends before `next_offset` was processed."""
    return msgspec.structs.replace(position, high=max(position.high, next_offset))


def replay_of(position: Position, offset: int) -> str:
    """The replay that a record belongs to; empty: none."""
    return position.replay_id if offset < position.replay_until else ""


def write(position: Position) -> bytes:
    """The table's value."""
    return _encoder.encode(position)
