"""Values of records as columns of the read model can hold them."""

from __future__ import annotations

from app.core.records.headers import number

#: characters of what rows are found by; ours are shorter, and an index takes no more
_LONGEST = 300


#: characters of texts that are only shown
_SHOWN = 4096


_NUL = b"\\u0000"


_NO_NUL = b"\\ufffd"


def as_coordinates(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    partition, _, offset = text.partition(":")
    return as_number(number(partition), 2**31 - 1), as_number(number(offset), LARGEST)


def as_name(text: str) -> str:
    if len(text) > _LONGEST or "\x00" in text or not text.isprintable():
        raise ValueError(f"{text[:40]!r} is no name")
    return text


def as_text(text: str) -> str:
    return text[:_SHOWN].replace("\x00", "\ufffd")


def as_number(value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise ValueError(f"{value} is out of bounds")
    return value


def without_nul(value: bytes) -> bytes:
    """PostgreSQL's texts cannot hold it, whoever's response it came from."""
    return value.replace(_NUL, _NO_NUL) if _NUL in value else value


LARGEST = 2**53
