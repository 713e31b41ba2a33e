"""Resets of a consumer group's offsets: the records that are read again, and those that are never read."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class PartitionOffsets(msgspec.Struct, frozen=True, kw_only=True):
    """Where a group stands in a partition."""

    topic: str
    partition: int
    #: None before the first commit: the group starts at `begin`
    committed: int | None
    #: the oldest and the next offset of the log
    begin: int
    end: int

    @property
    def position(self) -> int:
        """The offset that the group reads next."""
        return self.begin if self.committed is None else max(self.begin, self.committed)

    @property
    def lag(self) -> int:
        """Records that the group has not finished, and transaction markers."""
        return max(0, self.end - self.position)


class OffsetReset(msgspec.Struct, frozen=True, kw_only=True):
    """The change of one partition's committed offset."""

    topic: str
    partition: int
    current: int
    target: int

    @property
    def again(self) -> int:
        """Records that are read again."""
        return max(0, self.current - self.target)

    @property
    def skipped(self) -> int:
        """Records that are never read."""
        return max(0, self.target - self.current)


def resets(standing: Iterable[PartitionOffsets], targets: dict[tuple[str, int], int]) -> list[OffsetReset]:
    """The partitions whose offset changes; a target outside the log becomes its nearest end."""
    changes = []
    for each in standing:
        target = min(max(targets[each.topic, each.partition], each.begin), each.end)
        if target != each.position:
            changes.append(
                OffsetReset(topic=each.topic, partition=each.partition, current=each.position, target=target)
            )
    return changes
