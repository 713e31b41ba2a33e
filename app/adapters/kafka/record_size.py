"""The estimated size of a record in a batch."""

from __future__ import annotations

#: of a record's framing, and of a header's name and lengths, rounded up
_RECORD_BYTES = 100
_HEADER_BYTES = 40


def record_size(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> int:
    """An upper estimate in bytes, before compression."""
    size = _RECORD_BYTES + len(value or b"") + len(key or b"")
    return size + sum([len(text or b"") + _HEADER_BYTES for _, text in headers])
