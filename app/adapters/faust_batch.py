"""Batches of records, and the book that says which of a partition's offsets may be committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from app.core.errors import HookstreamError
from app.ports import Record

if TYPE_CHECKING:
    from app.adapters.faust_app import FaustApp
    from app.adapters.faust_table import BatchTable


_numbers = count(1)


class Track:
    """What was handed out of one partition since the last seek, and what of it is unfinished."""

    __slots__ = ("_open", "live", "next", "number", "records", "start")

    def __init__(self, start: int) -> None:
        #: differs from that of every other track
        self.number = next(_numbers)
        #: where reading began
        self.start = start
        #: the offset after the last one handed out
        self.next = start
        #: False once a seek or a revocation has made it history
        self.live = True
        #: how many records are handed out and unfinished
        self.records = 0
        self._open: dict[int, int] = {}

    def delivered(self, first: int, last: int, records: int) -> None:
        """Hand out a batch of so many records. Offsets ascend; those that do not exist are nobody's business."""
        self._open[first] = records
        self.records += records
        self.next = last + 1

    def finished(self, first: int) -> None:
        """Everything that the batch beginning at `first` causes is acknowledged."""
        self.records -= self._open.pop(first, 0)

    @property
    def committable(self) -> int:
        """The offset that may be committed: everything below it is finished."""
        return next(iter(self._open), self.next)


class PartitionTables:
    """`app.ports.StreamTables`."""

    __slots__ = ("_partition", "_tables")

    def __init__(self, tables: Mapping[str, BatchTable], partition: int) -> None:
        self._tables = tables
        self._partition = partition

    def read(self, table: str, key: bytes) -> bytes | None:
        """See `app.ports.StreamTables`."""
        return self._tables[table].get(self._partition, key)

    def write(self, table: str, items: Mapping[bytes, bytes | None]) -> None:
        """See `app.ports.StreamTables`; None deletes."""
        self._tables[table].put_batch(self._partition, items)

    def changelog(self, table: str) -> str:
        """See `app.ports.StreamTables`."""
        return self._tables[table].changelog


class Batch:
    """`app.ports.StreamBatch`: the records of one partition that one poll brought."""

    __slots__ = ("_app", "_track", "partition", "records", "tables")

    def __init__(self, app: FaustApp, partition: int, records: Sequence[Record], track: Track) -> None:
        self._app = app
        self._track = track
        self.partition = partition
        #: never empty, offsets ascend
        self.records = records
        self.tables = PartitionTables(app.tables_by_name, partition)

    @property
    def assignment(self) -> int:
        """See `app.ports.StreamBatch`."""
        return self._track.number

    @property
    def start(self) -> int:
        """The offset at which reading began after the assignment: the committed one, else the oldest there is."""
        return self._track.start

    @property
    def committed(self) -> int:
        """See `app.ports.StreamBatch`."""
        known = self._app.committed(self.partition)
        return self._track.start if known is None else known

    @property
    def live(self) -> bool:
        """Whether it is still to be worked on: neither a seek nor a rebalance has come since."""
        return self._track.live

    async def ack(self) -> None:
        """Everything that it causes is acknowledged: its offsets may be committed."""
        self._track.finished(self.records[0].offset)
        self._app.pipeline.ended(self)

    def fail(self, error: HookstreamError) -> None:
        """It cannot be finished: the app ends with the error, and nothing at or behind the batch is committed."""
        self._app.pipeline.ended(self)
        self._app.fail(error)
