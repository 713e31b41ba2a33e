"""A record of any topic, as consumers return it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.core.records.headers import RecordHeader


class ConsumedRecord(Protocol):
    """The parts of a record that Hookstream reads; `timestamp` is in milliseconds since the epoch."""

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
