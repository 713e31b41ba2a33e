"""Reading records as a member of a group, or from an offset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.core.offsets.partitions import CommittedOffset, PartitionId


class Record(Protocol):
    """What roles read of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class RebalanceListener(Protocol):
    """Who works on a source's partitions."""

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """These are ours from now on; reading starts at the committed offset, else at the beginning."""
        ...

    async def revoked(self, places: set[PartitionId]) -> None:
        """These are no longer ours once this returns (seconds at most): finish or drop, then commit."""
        ...


class GroupConsumer(Protocol):
    """A member of a consumer group. The listener hears of an assignment before its first record is polled."""

    async def start(self, listener: RebalanceListener) -> None:
        """Join; returns before partitions are assigned. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave, within seconds. Commits nothing."""
        ...

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> Mapping[PartitionId, Sequence[Record]]:
        """Records of the partitions that are not paused, as soon as there are any; empty after the timeout.

        A broker outage gives empty answers, not errors.
        """
        ...

    async def commit(self, offsets: Mapping[PartitionId, tuple[int, str]]) -> bool:
        """Commit offsets with metadata; False: not now (rebalance, outage), and the next commit says it all again."""
        ...

    async def ends(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        """The offset after the last record of each, now."""
        ...

    def lease_s(self) -> float:
        """Until then (`Clock.monotonic`) the group has given our partitions to nobody else, whatever this process has
        missed meanwhile: it counts from the last answer. Past it, the next answer tells.
        """
        ...

    def position(self, place: PartitionId) -> int | None:
        """The offset that is read next of a partition, also over what holds no record; None: undetermined."""
        ...

    def pause(self, *places: PartitionId) -> None:
        """Fetch these no more; what was fetched and not polled is dropped and comes again after `resume`."""
        ...

    def resume(self, *places: PartitionId) -> None:
        """Fetch these again."""
        ...


class SeekableConsumer(GroupConsumer, Protocol):
    """A consumer whose offsets are stored elsewhere: assigned partitions stay paused until they are resumed."""

    def seek(self, place: PartitionId, offset: int) -> None:
        """Read on from there. Raises what ends the role when the partition is no longer ours."""
        ...
