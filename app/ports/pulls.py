"""The log from which receivers pull: deliveries.pull, and how far the receiver of each endpoint has read."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from app.ports.consumer import Record


class PullScan(Struct, frozen=True, kw_only=True):
    """The result of a scan."""

    records: Sequence[Record]
    #: where the next scan continues
    next_offset: int
    #: the offsets of the first record and of the next record to come
    begin: int
    end: int
    #: the scan could not begin where it should: retention has deleted records, or the log is another one
    truncated: bool


class PullCommit(Struct, frozen=True, kw_only=True):
    """How far a receiver has read."""

    offset: int
    #: when it committed, in milliseconds since the epoch; None: another tool has
    at_ms: int | None


class PullLog(Protocol):
    """Reads deliveries.pull, and commits positions in it. All methods raise `Unavailable`."""

    async def scan(self, partition: int, offset: int, *, key: bytes, limit: int, max_bytes: int) -> PullScan:
        """The next records of a key, at most `limit`, and `max_bytes` with all of them but the last.

        It examines a bounded number of records of other keys, and may find none before the log's end.
        """
        ...

    async def offset_at(self, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record has this timestamp or a later one; the end offset if there is none."""
        ...

    async def end(self, partition: int) -> int:
        """The offset that the next record gets."""
        ...

    def grown(self, partition: int, end: int, timeout_s: float) -> Coroutine[Any, Any, bool]:
        """Wait until the partition's end is beyond `end`; False after the timeout."""
        ...

    async def committed(self, endpoint_id: str) -> Mapping[int, PullCommit]:
        """Partition → how far the endpoint's receiver has read, as it has committed."""
        ...

    async def commit(self, endpoint_id: str, partition: int, offset: int) -> None:
        """Commit that everything before the offset is done."""
        ...
