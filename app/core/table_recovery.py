"""Which of two values of a table's key is the later one, because a replaced worker may write to the changelog last.

A worker that was suspended (a stopped process, an unavailable broker) sends its pending records when it continues. By
then another worker may have written newer values. Both derive from the same log, so the offset or count in a value
shows which one is later. A recovery ignores values that are older than one that it has read.

This needs all changelog records since the table's folder was written. If compaction has left only the tombstone of a
key, the value in the folder would seem to be active. A folder is therefore trusted for less time than the changelog
stays uncompacted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

#: seconds by which the folder of a table with tombstones may be behind; `min.compaction.lag.ms` is longer
TRUSTED_S = 2_700.0
#: (current value, value of a changelog record; None: none, or a tombstone) → whether the record is applied
Supersedes = Callable[[bytes | None, bytes | None], bool]


class TableRecovery(NamedTuple):
    """How a table is rebuilt from its changelog."""

    #: None: every record is applied
    supersedes: Supersedes | None = None
    #: seconds after which a folder without newer records is discarded; None: never
    trusted_s: float | None = None


#: every record is applied, and folders are always used
PLAIN = TableRecovery()
_decoder = msgspec.msgpack.Decoder(list[object])


def later_state(old: bytes | None, new: bytes | None) -> bool:
    """Whether `new` supersedes `old`; values begin with the last offset that they include."""
    before, after = fields_of(old), fields_of(new)
    return before is None or after is None or _applied(after) >= _applied(before)


def fields_of(value: bytes | None) -> list[object] | None:
    """The fields of a table's value; None if there is none, or it cannot be decoded."""
    try:
        return _decoder.decode(value) if value else None
    except (ValueError, RecursionError):
        return None


def _applied(fields: list[object]) -> int:
    return fields[0] if fields and isinstance(fields[0], int) else -1
