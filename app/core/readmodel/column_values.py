"""Values of records in the form that columns of the read model can hold."""

from __future__ import annotations

from app.core.records.headers import number

#: characters of a text that has an index; those of valid records are shorter
_LONGEST = 300


#: characters of a text that is only displayed
_SHOWN = 4096


_NUL = b"\\u0000"


_NO_NUL = b"\\ufffd"


def as_coordinates(text: str | None) -> tuple[int, int] | None:
    """Partition and offset of `<partition>:<offset>`; None of an empty text. Raises `ValueError`."""
    if not text:
        return None
    partition, _, offset = text.partition(":")
    return as_number(number(partition), 2**31 - 1), as_number(number(offset), LARGEST)


def as_name(text: str) -> str:
    """The text, for a column with an index. Raises `ValueError` if it is too long or not printable."""
    if len(text) > _LONGEST or "\x00" in text or not text.isprintable():
        raise ValueError(f"{text[:40]!r} is no name")
    return text


def as_text(text: str) -> str:
    """The text, shortened and without NUL, for a column that is only displayed."""
    return text[:_SHOWN].replace("\x00", "\ufffd")


def as_number(value: int, most: int) -> int:
    """The value. Raises `ValueError` unless it is between 0 and `most`."""
    if not 0 <= value <= most:
        raise ValueError(f"{value} is out of bounds")
    return value


def without_nul(value: bytes) -> bytes:
    """JSON without NUL characters, which PostgreSQL cannot store in a text."""
    return value.replace(_NUL, _NO_NUL) if _NUL in value else value


LARGEST = 2**53
