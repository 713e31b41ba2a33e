"""Reading the past of a topic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.core.model.replay import OldestRecord, Replay, ReplayEstimate
from app.ports.consumer import Record


class OffsetQueries(Protocol):
    """Where topics end."""

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Partition → the offset that the next record gets. Raises `Unavailable`."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → the offset below which fan-out has finished everything. Raises `Unavailable`."""
        ...


class PartitionReader(Protocol):
    """Some partitions of a topic, read by one reader alone from given offsets on."""

    async def poll(
        self, partitions: Collection[int], *, timeout_ms: int, max_records: int
    ) -> Mapping[int, Sequence[Record]]:
        """The next records of these partitions, as soon as there are any; empty after the timeout.

        A broker outage gives empty answers, not errors.
        """
        ...

    async def position(self, partition: int) -> int:
        """The offset from which the next poll goes on; it moves over what holds no record, too."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class HistoryReader(Protocol):
    """Read topics again, and ask where they and the fan-out stand. All raise `Unavailable`."""

    async def open(self, topic: str, starts: Mapping[int, int]) -> PartitionReader:
        """Read these partitions; an offset that is no longer there becomes the first one that is."""
        ...

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Partition → the offset that the next record gets."""
        ...

    async def oldest(self, topic: str, partitions: Collection[int]) -> Mapping[int, OldestRecord]:
        """Partition → where its first record is, and how old that is."""
        ...

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record is not older; the end, when all are."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → what the fan-out group has committed; a partition without a commit is missing."""
        ...

    async def sequenced(self) -> Mapping[int, int]:
        """Partition of deliveries.ordered → what the sequencer's group has committed; the same holds."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class ReplayEstimator(Protocol):
    """Try a replay without making it."""

    async def count(self, replay: Replay, *, within_s: float) -> ReplayEstimate:
        """What it would deliver; not complete when that takes longer than `within_s`. Raises `Unavailable`."""
        ...


class RecordReader(Protocol):
    """Fetch what stands where."""

    async def records(self, topic: str, spots: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Record]:
        """The records at these (partition, offset); one that is not there, or no longer, is missing.

        Costs a fetch for each stretch of neighbours. Raises `Unavailable`.
        """
        ...
