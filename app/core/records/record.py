"""A record as every consumer returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.core.records.headers import RecordHeader


class ConsumedRecord(Protocol):
    """What is read of a record."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[RecordHeader]: ...
