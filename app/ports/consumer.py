"""Reading records as a member of a group, or from an offset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.core.offsets.partitions import CommittedOffset, PartitionId


class Record(Protocol):
    """A record as roles read it."""

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
    """Notified when partitions are assigned or revoked."""

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """The partitions were assigned. Reading starts at the committed offset, or at the beginning without one."""
        ...

    async def revoked(self, places: set[PartitionId]) -> None:
        """These partitions are being revoked: finish or drop their work, commit, and return within seconds."""
        ...


class GroupConsumer(Protocol):
    """A member of a consumer group. The listener is notified of a partition before its first record is polled."""

    async def start(self, listener: RebalanceListener) -> None:
        """Join; returns before partitions are assigned. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave, within seconds. Commits nothing."""
        ...

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> Mapping[PartitionId, Sequence[Record]]:
        """Records of the partitions that are not paused, as soon as there are any; empty after the timeout.

        During a broker outage the result is empty; no exception is raised.
        """
        ...

    async def commit(self, offsets: Mapping[PartitionId, tuple[int, str]]) -> bool:
        """Commit offsets with metadata. False during a rebalance or an outage: include them in the next commit."""
        ...

    async def ends(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        """Partition → its current end offset: that of the next record to be appended."""
        ...

    def lease_s(self) -> float:
        """The time (`Clock.monotonic`) until which the group cannot have assigned our partitions to another member.

        It is the session timeout after the last answered heartbeat, so it holds even if this process was suspended
        since. Later, only the next answer shows whether the partitions are still ours.
        """
        ...

    def position(self, place: PartitionId) -> int | None:
        """The next offset to read of a partition, past transaction markers as well; None: not determined yet."""
        ...

    def pause(self, *places: PartitionId) -> None:
        """Stop fetching these partitions. Records that were fetched but not polled are fetched again after `resume`."""
        ...

    def resume(self, *places: PartitionId) -> None:
        """Fetch these partitions again."""
        ...


class SeekableConsumer(GroupConsumer, Protocol):
    """A consumer whose offsets are stored outside Kafka: assigned partitions stay paused until they are resumed."""

    def seek(self, place: PartitionId, offset: int) -> None:
        """Continue reading at an offset. Raises if the partition is no longer assigned; then the role must end."""
        ...
