"""How far each partition of a role has come: what roles report and the watchdog judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.core.offsets.partitions import OpenPartition, PartitionId


class PartitionProgress(NamedTuple):
    """How far a role is in one partition that it has now."""

    #: every smaller offset needs nothing more of the role; None: not known yet, what is committed counts
    low: int | None
    #: whatever moves when the role works: any change of it is a move
    moves: tuple[int, ...] = ()
    #: until then (monotonic seconds) standing still is on purpose; None: it is not
    waits_until_s: float | None = None


def progress_of(partition: OpenPartition, read: int | None, waits_until_s: float | None = None) -> PartitionProgress:
    """Of a group member that finishes offsets in any order. `read`: the offset that it reads next, where known."""
    mark = partition.watermark
    if mark is None or not mark.open:
        # What is read may lie behind what was handed out: markers of transactions and gaps are no records.
        return PartitionProgress(read if mark is None else max(mark.next, read or 0), waits_until_s=waits_until_s)
    return PartitionProgress(mark.committable, (mark.next, mark.open, read or 0), waits_until_s)


class RoleReport(NamedTuple):
    """What a role says of itself."""

    places: Mapping[PartitionId, PartitionProgress] = {}
    #: why it cannot work yet; None: it can
    settling: str | None = None
    #: whatever moves while it is settling
    steps: int = 0
    #: how many partitions it has; None: `places` has all of them
    assigned: int | None = None


class GroupSpan(NamedTuple):
    """What Kafka says of a partition: the offset the group goes on from, and the one that the next record gets."""

    begin: int
    end: int
