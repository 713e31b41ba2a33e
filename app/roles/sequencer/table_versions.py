"""Which of two copies of a stored line is the later one."""

from __future__ import annotations

from app.core.table_recovery import _fields, later_state


def later_line(old: bytes | None, new: bytes | None) -> bool:
    """The same of lines and gates. Only what is at rest is removed: the removal of anything else is an old one."""
    known = _fields(old)
    if known is not None and new is None:
        return not _under_way(known)
    return later_state(old, new)


def _under_way(fields: list[object]) -> bool:
    """A line with a delivery in flight, waiting or blocked, or a gate that is shut."""
    if len(fields) < 2:
        return False
    if isinstance(fields[1], str):
        return fields[1] in ("parking", "holding")
    busy = any(isinstance(each, int) and each >= 0 for each in (fields[1], *fields[3:4]))
    return busy or bool(fields[2] if len(fields) > 2 else False)
