"""The uses of aiokafka's private attributes for fetching; its version is pinned.

- `read_position`: the next offset to hand out, without waiting.
- `FetchTuning`: the broker answers a fetch as soon as `fetch.min.bytes` are there, or after `fetch.max.wait.ms`.
  aiokafka fixes both for a consumer's lifetime and sends one fetch at a time to each broker. One byte and a long wait
  suit an idle consumer: each record arrives at once, and idling costs nothing. Under load, however, each fetch would
  bring one or two records of a partition, and a batch of two costs the stream processor as much as one of a hundred.
  An idle process, in turn, spends its time with fetches of all partitions that return nothing.
  Both attributes are read for each fetch, so they are changed between fetches.
- `accept_undecodable_header_names`: aiokafka raises `UnicodeDecodeError` for a header name that is not UTF-8, which
  would stop the consumer at that record for ever. Names are decoded with backslash escapes instead.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

from app.adapters.clock import SystemClock
from app.ports.clock import Clock

_clock = SystemClock()
#: records of one poll from which on the consumer counts as under load
_BRISK = 4
#: under load: `fetch.max.wait.ms` and `fetch.min.bytes`
_GATHER_MS = 3
_GATHER_BYTES = 256 * 1024
#: seconds without records after which a consumer counts as idle, and its `fetch.max.wait.ms` then
_IDLE_AFTER_S = 5.0
_IDLE_MS = 2_500


def read_position(consumer: Any, place: Any) -> int | None:
    """The next offset that an AIOKafkaConsumer will hand out; None: not determined yet. Does not wait."""
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription is not None else None
    state = assignment.state_value(place) if assignment is not None else None
    return int(state.position) if state is not None and state.has_valid_position else None


class FetchTuning:
    """Adapts the wait and the minimum size of a consumer's fetches to its load."""

    def __init__(self, patient_ms: int, *, gathers: bool = False, clock: Clock = _clock) -> None:
        """`patient_ms`: `fetch.max.wait.ms` while the consumer is not idle. `gathers`: it prefers large batches.

        A partition that is resumed, or whose position changes, is fetched when the current fetch has returned.
        """
        self._patient_ms = patient_ms
        self._gathers = gathers
        self._clock = clock
        self._setting = (patient_ms, 1)
        self._busy_s = self._clock.monotonic()

    def restart(self, consumer: Any) -> None:
        """Partitions are assigned or revoked: positions will change."""
        self._busy_s = self._clock.monotonic()
        self._set(consumer, (self._patient_ms, 1))

    def polled(self, consumer: Any, records: int, *, paused: bool = False) -> None:
        """A poll of `consumer` (an AIOKafkaConsumer) has returned `records` records.

        `paused`: some partitions are not read now, and may be resumed.
        """
        if records or paused:
            self._busy_s = self._clock.monotonic()
        if self._gathers and records >= _BRISK:
            self._set(consumer, (_GATHER_MS, _GATHER_BYTES))
        elif self._clock.monotonic() - self._busy_s >= _IDLE_AFTER_S:
            self._set(consumer, (max(_IDLE_MS, self._patient_ms), 1))
        else:
            self._set(consumer, (self._patient_ms, 1))

    def _set(self, consumer: Any, setting: tuple[int, int]) -> None:
        if setting != self._setting:
            self._setting = setting
            consumer._fetcher._fetch_max_wait_ms, consumer._fetcher._fetch_min_bytes = setting


class _EscapingBytes(bytes):
    """Bytes whose slices can all be decoded."""

    def __getitem__(self, at: Any) -> Any:
        piece = super().__getitem__(at)
        return _EscapingBytes(piece) if isinstance(at, slice) else piece

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text, with backslash escapes for bytes that are not valid."""
        return super().decode(encoding, "backslashreplace")


class _EscapingBatch(_DefaultRecordBatchPy):
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _EscapingBytes(self._buffer)


class _EscapingRecords(_MemoryRecordsPy):
    def next_batch(self, *_: Any) -> Any:
        """The next batch. Only format 2 has headers; older batches are decoded as usual."""
        piece = self._next_slice
        if piece is None or piece[self.MAGIC_OFFSET] < 2:
            return super().next_batch()
        self._cache_next()
        return _EscapingBatch(piece)


class _Records:
    """aiokafka's `MemoryRecords` that also keeps the raw bytes, for a second pass."""

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
        #: records below this offset were handed out already
        self._low = 0

    def __next__(self) -> Any:
        while True:
            try:
                record = super().__next__()
            except UnicodeDecodeError:
                self._low = self.next_fetch_offset
                self._records = _EscapingRecords(self._records.data)
                self._aborted_transactions = self._aborted_at_first
                self._aborted_producers.clear()
                self._records_iterator = self._unpack_records()
            else:
                if record.offset >= self._low:
                    return record


def accept_undecodable_header_names() -> None:
    """Patch aiokafka so that all consumers of this process read records with such header names."""
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _PartitionRecords
