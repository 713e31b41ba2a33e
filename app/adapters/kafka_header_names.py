"""Header names that are not UTF-8 do not stop a consumer: aiokafka raises at such a record, again at each fetch.

Java's clients cannot write one, C's and all that are built on it can. A record of that kind is read by aiokafka's own
Python parser instead of its compiled one, and the bytes of the name that are no text come as `\\xff`. What is read
without an error costs nothing (private names of the pinned version; tests/faults holds it to this).
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


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
