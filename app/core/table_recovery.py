"""Which of two values of a table's key is the later one: a worker that was replaced may write to the changelog last.

A worker that stood still (a stopped process, a broker that was away) sends what it had in hand when it wakes up. By
then another one may have written newer values. Both derive from the same log, so the offset, or the count, that a value
has come to says which is later. What is older than what a recovery has read already is passed over.

That needs the whole story since the table's folder was left: where only the removal of a line is left of it, the line
in the folder would seem to be under way. So a folder is trusted for less time than the changelog stays uncompacted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

#: seconds for which the folder of a table whose keys are removed may be behind (min.compaction.lag.ms is longer)
TRUSTED_S = 2_700.0
#: (what is there, what a changelog record says; None: nothing, or its removal) → whether the record counts
Supersedes = Callable[[bytes | None, bytes | None], bool]


class TableRecovery(NamedTuple):
    """How a table is made again from its changelog."""

    #: None: every record counts
    supersedes: Supersedes | None = None
    #: seconds after which a folder that knows nothing newer is put aside; None: never
    trusted_s: float | None = None


#: nothing that needs care
PLAIN = TableRecovery()
_decoder = msgspec.msgpack.Decoder(list[object])


def later_state(old: bytes | None, new: bytes | None) -> bool:
    """Of a value that begins with the last offset applied: whether `new` may replace `old`."""
    known, fresh = fields_of(old), fields_of(new)
    return known is None or fresh is None or _applied(fresh) >= _applied(known)


def fields_of(value: bytes | None) -> list[object] | None:
    try:
        return _decoder.decode(value) if value else None
    except (ValueError, RecursionError):
        return None


def _applied(fields: list[object]) -> int:
    return fields[0] if fields and isinstance(fields[0], int) else -1
