"""Reading older records of topics, and querying offsets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.core.model.replay import OldestRecord, Replay, ReplayEstimate
from app.ports.consumer import Record


class OffsetQueries(Protocol):
    """Queries end offsets and the progress of fan-out."""

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Partition → the offset that the next record gets. Raises `Unavailable`."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → the offset below which fan-out has finished everything. Raises `Unavailable`."""
        ...


class PartitionReader(Protocol):
    """Reads some partitions of a topic from given offsets, outside any consumer group."""

    async def poll(
        self, partitions: Collection[int], *, timeout_ms: int, max_records: int
    ) -> Mapping[int, Sequence[Record]]:
        """The next records of these partitions, as soon as there are any; empty after the timeout.

        During a broker outage the result is empty; no exception is raised.
        """
        ...

    async def position(self, partition: int) -> int:
        """The offset at which the next poll continues, past transaction markers as well."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class HistoryReader(Protocol):
    """Reads topics from any offset, and queries offsets and commits. All methods raise `Unavailable`."""

    async def open(self, topic: str, starts: Mapping[int, int]) -> PartitionReader:
        """Read the partitions from `starts`; a deleted offset is replaced by the first one that still exists."""
        ...

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Partition → the offset that the next record gets."""
        ...

    async def oldest(self, topic: str, partitions: Collection[int]) -> Mapping[int, OldestRecord]:
        """Partition → the offset and the timestamp of its first record."""
        ...

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record has this timestamp or a later one; the end offset if there is none."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → the committed offset of the fan-out group. Partitions without one are left out."""
        ...

    async def sequenced(self) -> Mapping[int, int]:
        """The same for deliveries.ordered and the sequencer's group."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class ReplayEstimator(Protocol):
    """Estimates a replay without carrying it out."""

    async def count(self, replay: Replay, *, within_s: float) -> ReplayEstimate:
        """What the replay would deliver; incomplete if counting takes longer than `within_s`. Raises `Unavailable`."""
        ...


class RecordReader(Protocol):
    """Fetches records by partition and offset."""

    async def records(self, topic: str, spots: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Record]:
        """(partition, offset) → its record. Offsets without a record, or with a deleted one, are left out.

        Costs one fetch for each run of neighbouring offsets. Raises `Unavailable`.
        """
        ...
