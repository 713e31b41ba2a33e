"""Reading and writing record headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

RecordHeader = tuple[str, bytes]
#: characters of a header's text; what we write is shorter, and an attempt record repeats some of it as JSON
_LONGEST = 1024
#: digits of a header's number: what JSON readers and floats can still take
_DIGITS = 19


class Sized(Protocol):
    """What a record's size consists of."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[RecordHeader]: ...


def size_of(record: Sized) -> int:
    """Bytes that a record takes in a batch that is not compressed, rounded up."""
    framing = sum(len(name) + len(text or b"") + 16 for name, text in record.headers)
    return len(record.key or b"") + len(record.value or b"") + framing


def texts(headers: Iterable[RecordHeader]) -> dict[str, str]:
    """Headers by name; `ValueError` when one is not UTF-8, or longer than any that we write."""
    return {name: _short(text.decode()) for name, text in headers if text is not None}


def number(text: str) -> int:
    """A header's number; `ValueError` when we would not have written it."""
    if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= _DIGITS):
        raise ValueError(f"{text[:40]!r} is not one of our numbers")
    return int(text)


def _short(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"a text of {len(text)} characters")
    return text
