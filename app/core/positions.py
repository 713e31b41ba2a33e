"""Is this partition read forward, or again after somebody reset the group? (the table `positions`)

Rules of this file
- The table keeps, per partition, an offset that was committed and the highest offset that was processed.
- Kafka's committed offset never goes back by itself. Where reading begins below the committed offset that the table
  knows, somebody has reset the group: what lies below the highest processed offset is then a replay, with an id of its
  own, so that its deliveries are new ones (DESIGN guarantee 3).
- After a crash reading begins at or above the known committed offset: redelivery, not replay.
"""

from __future__ import annotations

import msgspec

from app.core import ids


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of the table `positions`."""

    #: an offset that the group had committed
    committed: int
    #: the offset after the highest one processed
    high: int
    #: the replay under way, and the offset at which it ends
    replay_id: str = ""
    replay_until: int = 0


_decoder = msgspec.json.Decoder(Position)
_encoder = msgspec.json.Encoder()


def read(stored: bytes | None) -> Position | None:
    """The table's value; None: nothing known (a value of another version counts as that)."""
    if stored is None:
        return None
    try:
        return _decoder.decode(stored)
    except msgspec.MsgspecError:
        return None


def begin(known: Position | None, group: str, partition: int, start: int) -> Position:
    """Reading of a partition begins at `start` after an assignment."""
    if known is None:
        return Position(committed=start, high=start)
    if start < known.committed:
        until = max(known.high, known.replay_until)
        return Position(
            committed=start, high=known.high,
            replay_id=ids.replay_id(group, partition, start, until), replay_until=until,
        )  # fmt: skip
    return msgspec.structs.replace(known, committed=start)


def advance(position: Position, committed: int, next_offset: int) -> Position:
    """A batch that ends before `next_offset` was processed; `committed` is what the group has committed by now."""
    over = bool(position.replay_id) and next_offset >= position.replay_until and committed >= position.replay_until
    return Position(
        committed=max(committed, position.committed),
        high=max(position.high, next_offset),
        replay_id="" if over else position.replay_id,
        replay_until=0 if over else position.replay_until,
    )


def replay_of(position: Position, offset: int) -> str:
    """The replay that a record belongs to; empty: none."""
    return position.replay_id if offset < position.replay_until else ""


def write(position: Position) -> bytes:
    """The table's value."""
    return _encoder.encode(position)
