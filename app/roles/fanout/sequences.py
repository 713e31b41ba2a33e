"""Keys and values of the table `ordering`: the latest sequence number of each ordering key."""

from __future__ import annotations


def coverage_key(partition: int) -> bytes:
    """The key that says whether the table has counted its partition from the beginning."""
    return b"\0begun/%d" % partition


#: values of `coverage_key`: counted from the beginning, or from a later offset because the table was lost
COMPLETE, LATE = b"\0", b"\1"


def read_count(stored: bytes) -> int | None:
    """The sequence number in a table value; None for a value that fan-out cannot have written."""
    return int.from_bytes(stored, "big") if len(stored) == 8 and stored[0] < 0x80 else None


def later_count(old: bytes | None, new: bytes | None) -> bool:
    """Whether the table value `new` may replace `old`: sequence numbers never decrease."""
    return old is None or new is None or len(old) != len(new) or new >= old
