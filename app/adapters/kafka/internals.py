"""The private side of aiokafka's fetching: where it stands, and how long the broker gathers before it answers.

Gathering: with few records not at all, with many a moment.

aiokafka fixes that for a consumer's life, and has one fetch under way for each broker. With a long wait and one byte,
every record comes at once and idle costs nothing; but under load each fetch brings a record or two of each partition,
and a stream processor pays for a batch of two what it pays for one of a hundred. The numbers are read anew for each
fetch, so they are changed between two of them (private attributes; the version is pinned).
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

#: a poll with so many records or more is one under load
_BRISK = 4
#: under load the broker gathers for that long, or until there are so many bytes
_GATHER_MS = 3
_GATHER_BYTES = 256 * 1024


def read_position(consumer: Any, place: Any) -> int | None:
    """The offset that an AIOKafkaConsumer hands out next of a partition, without waiting; None: undetermined."""
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription is not None else None
    state = assignment.state_value(place) if assignment is not None else None
    return int(state.position) if state is not None and state.has_valid_position else None


class FetchTuning:
    """Adapts one consumer's fetches to what its polls bring."""

    def __init__(self, patient_ms: int) -> None:
        """`patient_ms`: the wait when there is nothing."""
        self._patient_ms = patient_ms
        self._brisk = False

    def polled(self, consumer: Any, records: int) -> None:
        """A poll of `consumer` (an AIOKafkaConsumer) has brought so many records."""
        brisk = records >= _BRISK
        if brisk != self._brisk:
            self._brisk = brisk
            fetcher = consumer._fetcher
            fetcher._fetch_max_wait_ms = _GATHER_MS if brisk else self._patient_ms
            fetcher._fetch_min_bytes = _GATHER_BYTES if brisk else 1


class _Tolerant(bytes):
    """Bytes of which every slice can be decoded."""

    def __getitem__(self, at: Any) -> Any:
        piece = super().__getitem__(at)
        return _Tolerant(piece) if isinstance(at, slice) else piece

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """As text, whatever it is."""
        return super().decode(encoding, "backslashreplace")


class _Batch(_DefaultRecordBatchPy):
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _Tolerant(self._buffer)


class _TolerantRecords(_MemoryRecordsPy):
    def next_batch(self, *_: Any) -> Any:
        """The next batch; only the present format has headers."""
        piece = self._next_slice
        if piece is None or piece[self.MAGIC_OFFSET] < 2:
            return super().next_batch()
        self._cache_next()
        return _Batch(piece)


class _Records:
    """What `fetcher.MemoryRecords` makes, and the bytes that it was made of."""

    def __init__(self, data: bytes) -> None:
        records = MemoryRecords(data)
        self.data = data
        self.has_next = records.has_next
        self.next_batch = records.next_batch
        self.size_in_bytes = records.size_in_bytes


class _PartitionRecords(fetcher.PartitionRecords):
    _records: Any
    _aborted_transactions: Any

    def __init__(self, tp: Any, records: Any, aborted_transactions: Any, *rest: Any) -> None:
        super().__init__(tp, records, aborted_transactions, *rest)
        self._aborted_at_first = list(self._aborted_transactions)
        #: what is below was handed out before
        self._low = 0

    def __next__(self) -> Any:
        while True:
            try:
                record = super().__next__()
            except UnicodeDecodeError:
                self._low = self.next_fetch_offset
                self._records = _TolerantRecords(self._records.data)
                self._aborted_transactions = self._aborted_at_first
                self._aborted_producers.clear()
                self._records_iterator = self._unpack_records()
            else:
                if record.offset >= self._low:
                    return record


def tolerate() -> None:
    """Make all consumers of this process so."""
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _PartitionRecords
