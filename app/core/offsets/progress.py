"""The progress of a role's partitions, as roles report it and the watchdog judges it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.core.offsets.partitions import OpenPartition, PartitionId


class PartitionProgress(NamedTuple):
    """The progress of a role in one assigned partition."""

    #: every smaller offset is finished; None: unknown yet, the committed offset counts
    low: int | None
    #: numbers that change when the role works: any change is progress
    moves: tuple[int, ...] = ()
    #: the role waits on purpose until then, in monotonic seconds; None: it does not
    waits_until_s: float | None = None


def progress_of(partition: OpenPartition, read: int | None, waits_until_s: float | None = None) -> PartitionProgress:
    """The progress of a partition whose offsets finish in any order; `read`: the next offset to read, or None."""
    mark = partition.watermark
    if mark is None or not mark.open:
        # The read position may be past the last record: transaction markers and gaps are not records.
        return PartitionProgress(read if mark is None else max(mark.next, read or 0), waits_until_s=waits_until_s)
    return PartitionProgress(mark.committable, (mark.next, mark.open, read or 0), waits_until_s)


class RoleReport(NamedTuple):
    """The report of one role to the watchdog."""

    places: Mapping[PartitionId, PartitionProgress] = {}
    #: why the role cannot work yet; None: it can
    settling: str | None = None
    #: a number that changes while the role is settling
    steps: int = 0
    #: the number of assigned partitions; None: `places` has all of them
    assigned: int | None = None
    #: the number of changelog records that are not recovered yet
    unrecovered: int = 0


class GroupSpan(NamedTuple):
    """A partition in Kafka: the group's committed offset, and the offset of the next record."""

    begin: int
    end: int
