"""Keys and values of the table of sequence numbers."""

from __future__ import annotations


def begun_key(partition: int) -> bytes:
    """The key in the table `ordering` that says whether the table knows its partition from the beginning."""
    return b"\0begun/%d" % partition


BEGUN, BEGUN_LATE = b"\0", b"\1"


def later_count(old: bytes | None, new: bytes | None) -> bool:
    """Of a count of eight bytes (sequences): whether `new` may replace `old`."""
    return old is None or new is None or len(old) != len(new) or new >= old
