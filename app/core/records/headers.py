"""Headers of records: names and bytes, decoded as texts and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

RecordHeader = tuple[str, bytes]
#: the longest header, in characters. Hookstream writes shorter ones, and attempts repeat some of them as JSON
_MAX_LENGTH = 1024
#: digits of a header's number at most: what JSON readers and floats still represent
MAX_DIGITS = 19


class Sized(Protocol):
    """A record whose size can be estimated."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[RecordHeader]: ...


def size_of(record: Sized) -> int:
    """The size of a record in an uncompressed batch, in bytes, rounded up."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, text in record.headers:
        size += len(name) + len(text or b"") + 16
    return size


def texts(headers: Iterable[RecordHeader]) -> dict[str, str]:
    """Headers by name. Raises `ValueError` when one is not UTF-8, or is longer than any that Hookstream writes."""
    return {
        name: text.decode() if len(text) <= _MAX_LENGTH else short(text.decode())
        for name, text in headers
        if text is not None
    }


def number(text: str) -> int:
    """The number in a header. Raises `ValueError` for a form that Hookstream does not write."""
    if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= MAX_DIGITS):
        raise ValueError(f"{text[:40]!r} is not a number of at most {MAX_DIGITS} digits")
    return int(text)


def short(text: str) -> str:
    """The text itself. Raises `ValueError` when it is longer than any header that Hookstream writes."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a text of {len(text)} characters")
    return text
