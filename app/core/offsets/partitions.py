"""The partitions that are assigned to a group member: open records, finished records, and what to commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from app.core.offsets.watermark import OffsetWatermark, decode_finished

#: (topic, partition)
PartitionId = tuple[str, int]


def spans(places: Iterable[PartitionId]) -> dict[str, str]:
    """Topic → its partitions as a text for logs, such as `0-3,7`."""
    numbers: dict[str, list[int]] = {}
    for topic, number in sorted(places):
        numbers.setdefault(topic, []).append(number)
    return {topic: _spans(each) for topic, each in numbers.items()}


def _spans(numbers: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


class CommittedOffset(NamedTuple):
    """A group's committed offset of one partition; offset None: nothing is committed."""

    offset: int | None
    metadata: str


class OpenPartition:
    """One partition during one assignment.

    Where `active` is False, nothing new begins. Where `ours` is False, another member may own the partition already:
    outcomes of open records are still noted, and nothing is scheduled.
    """

    __slots__ = (
        "_on_finish",
        "active",
        "catching_up",
        "committed",
        "end",
        "flying",
        "number",
        "open_bytes",
        "ours",
        "place",
        "settling",
        "watermark",
    )

    def __init__(self, place: PartitionId, committed: CommittedOffset, on_finish: Callable[[], None]) -> None:
        self._on_finish = on_finish
        self.place = place
        self.number = place[1]
        self.active = True
        self.ours = True
        #: whether ordered deliveries wait until everything below `end` was read (roles/dispatch/ordered_deliveries.py)
        self.catching_up = False
        #: the offset after the last record at the assignment
        self.end = 0
        #: bytes of the open records' values
        self.open_bytes = 0
        #: deliveries in flight
        self.flying = 0
        #: records whose outputs are appended and not acknowledged
        self.settling = 0
        self.committed: tuple[int, str] | None = None
        self.watermark: OffsetWatermark | None = None
        if committed.offset is not None:
            finished = decode_finished(committed.offset, committed.metadata)
            self.watermark = OffsetWatermark(committed.offset, finished)

    def opened(self, offset: int, size: int) -> bool:
        """See `OffsetWatermark.opened`; without a commit, the first record is the beginning. `size`: of its value."""
        if self.watermark is None:
            self.watermark = OffsetWatermark(offset)
        if not self.watermark.opened(offset):
            return False
        self.open_bytes += size
        return True

    def read_to(self, position: int) -> None:
        """See `OffsetWatermark.read_to`. Call it when every polled record has been `opened`."""
        if self.watermark is None:
            if position > 0:
                self.watermark = OffsetWatermark(position)
                self._on_finish()
        elif self.watermark.read_to(position):
            self._on_finish()

    def finished(self, offset: int, size: int) -> None:
        """Note that all outputs of a record are acknowledged; `size`: bytes of its value."""
        if self.watermark is not None:
            self.watermark.finished(offset)
            self.open_bytes -= size
            self._on_finish()

    def due_commit(self) -> tuple[int, str] | None:
        """The offset and metadata to commit; None if they were committed already."""
        if self.watermark is None:
            return None
        position = (self.watermark.committable, self.watermark.metadata())
        return position if position != self.committed else None


class OpenPartitions:
    """All assigned partitions."""

    def __init__(self, on_finish: Callable[[], None]) -> None:
        """`on_finish` is called whenever there is something new to commit."""
        self._on_finish = on_finish
        self._by_place: dict[PartitionId, OpenPartition] = {}
        #: whether there was an assignment, even an empty one
        self.was_assigned = False

    def __getitem__(self, place: PartitionId) -> OpenPartition:
        return self._by_place[place]

    def get(self, place: PartitionId) -> OpenPartition | None:
        """The partition, if it is assigned."""
        return self._by_place.get(place)

    def add(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """Note an assignment with its committed offsets."""
        self.was_assigned = True
        for place, committed in places.items():
            self._by_place[place] = OpenPartition(place, committed, self._on_finish)

    def remove(self, places: set[PartitionId]) -> None:
        """Note a revocation."""
        for place in places:
            partition = self._by_place.pop(place, None)
            if partition is not None:
                partition.active = partition.ours = False

    def places(self) -> set[PartitionId]:
        """The ids of all assigned partitions."""
        return set(self._by_place)

    def of(self, places: Iterable[PartitionId]) -> list[OpenPartition]:
        """Those of `places` that are assigned."""
        return [self._by_place[place] for place in places if place in self._by_place]

    def read_to(self, position: Callable[[PartitionId], int | None]) -> None:
        """Note that every polled record has been `opened`; `position` returns the offset that is read next.

        Partitions that are being revoked are left out: their last polled records may be left to the next owner.
        """
        for place, partition in self._by_place.items():
            read = position(place)
            if read is not None and partition.active:
                partition.read_to(read)

    def commits(self) -> dict[PartitionId, tuple[int, str]]:
        """The offsets and metadata to commit now."""
        due = {place: partition.due_commit() for place, partition in self._by_place.items()}
        return {place: position for place, position in due.items() if position is not None}

    def committed(self, positions: Mapping[PartitionId, tuple[int, str]]) -> None:
        """Note successful commits."""
        for place, position in positions.items():
            if place in self._by_place:
                self._by_place[place].committed = position

    def busy(self, places: Iterable[PartitionId]) -> bool:
        """Whether records of these partitions are in flight or being settled, and so will soon be finished."""
        return any(each.flying or each.settling for each in self.of(places))

    @property
    def open(self) -> int:
        """The number of open records of all partitions."""
        return sum(each.watermark.open for each in self._by_place.values() if each.watermark)

    @property
    def open_bytes(self) -> int:
        """Bytes of the open records' values, of all partitions."""
        return sum(each.open_bytes for each in self._by_place.values())
