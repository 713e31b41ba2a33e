"""Which of two values of a key in the table `queues` is the later one."""

from __future__ import annotations

from app.core.table_recovery import fields_of, later_state


def later_queue(old: bytes | None, new: bytes | None) -> bool:
    """Whether `new` (None: a tombstone) supersedes `old`, both of a key queue or of a resume gate.

    Only values at rest are ever removed, so a tombstone for any other value is an old one.
    """
    fields = fields_of(old)
    if fields is not None and new is None:
        return not _is_active(fields)
    return later_state(old, new)


def _is_active(fields: list[object]) -> bool:
    """Whether the value is a queue with a delivery in flight, waiting or blocked, or a gate that is not open."""
    if len(fields) < 2:
        return False
    if isinstance(fields[1], str):
        return fields[1] in ("parking", "holding")
    busy = any(isinstance(each, int) and each >= 0 for each in (fields[1], *fields[3:4]))
    return busy or bool(fields[2] if len(fields) > 2 else False)
