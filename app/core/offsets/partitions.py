"""The partitions that a group member has at present: what is open, what is finished, what to commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from app.core.offsets.watermark import OffsetWatermark, decode_finished

#: (topic, partition)
PartitionId = tuple[str, int]


def spans(places: Iterable[PartitionId]) -> dict[str, str]:
    """Topic → its partitions, for people: `0-3,7`."""
    numbers: dict[str, list[int]] = {}
    for topic, number in sorted(places):
        numbers.setdefault(topic, []).append(number)
    return {topic: _spans(each) for topic, each in numbers.items()}


def _spans(numbers: Iterable[int]) -> str:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found)


class CommittedOffset(NamedTuple):
    """A group's committed offset of one partition; offset None: nothing is committed."""

    offset: int | None
    metadata: str


class OpenPartition:
    """One partition during one assignment. Nothing new begins where `active` is False; where `ours` is False somebody
    else may have it already: what happens to work under way is recorded, and nothing is scheduled.
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
        #: ordered deliveries wait until everything below `end` was read (roles/dispatch/lines.py)
        self.catching_up = False
        #: the offset after the last record at the assignment
        self.end = 0
        #: bytes of the values that are open
        self.open_bytes = 0
        #: deliveries in flight
        self.flying = 0
        #: records whose outputs are written and not acknowledged
        self.settling = 0
        self.committed: tuple[int, str] | None = None
        self.watermark: OffsetWatermark | None = None
        if committed.offset is not None:
            finished = decode_finished(committed.offset, committed.metadata)
            self.watermark = OffsetWatermark(committed.offset, finished)

    def opened(self, offset: int, size: int) -> bool:
        """See `Watermark.opened`; a partition without a commit begins at its first record. `size`: bytes it holds."""
        if self.watermark is None:
            self.watermark = OffsetWatermark(offset)
        if not self.watermark.opened(offset):
            return False
        self.open_bytes += size
        return True

    def read_to(self, position: int) -> None:
        """See `Watermark.read_to`; to be called when every record that was polled has been `opened`."""
        if self.watermark is None:
            if position > 0:
                self.watermark = OffsetWatermark(position)
                self._on_finish()
        elif self.watermark.read_to(position):
            self._on_finish()

    def finished(self, offset: int, size: int) -> None:
        """Everything that the record caused is acknowledged."""
        if self.watermark is not None:
            self.watermark.finished(offset)
            self.open_bytes -= size
            self._on_finish()

    def due_commit(self) -> tuple[int, str] | None:
        """What to commit, when it differs from what was committed last."""
        if self.watermark is None:
            return None
        position = (self.watermark.committable, self.watermark.metadata())
        return position if position != self.committed else None


class OpenPartitions:
    """All partitions assigned at present."""

    def __init__(self, on_finish: Callable[[], None]) -> None:
        """`on_finish` is called whenever there is something new to commit."""
        self._on_finish = on_finish
        self._by_place: dict[PartitionId, OpenPartition] = {}
        #: told of an assignment at least once
        self.known = False

    def __getitem__(self, place: PartitionId) -> OpenPartition:
        return self._by_place[place]

    def get(self, place: PartitionId) -> OpenPartition | None:
        """The partition, while it is ours."""
        return self._by_place.get(place)

    def add(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """Assigned."""
        self.known = True
        for place, committed in places.items():
            self._by_place[place] = OpenPartition(place, committed, self._on_finish)

    def remove(self, places: set[PartitionId]) -> None:
        """Revoked."""
        for place in places:
            partition = self._by_place.pop(place, None)
            if partition is not None:
                partition.active = partition.ours = False

    def places(self) -> set[PartitionId]:
        """Which are ours."""
        return set(self._by_place)

    def of(self, places: Iterable[PartitionId]) -> list[OpenPartition]:
        """Those of `places` that are ours."""
        return [self._by_place[place] for place in places if place in self._by_place]

    def read_to(self, position: Callable[[PartitionId], int | None]) -> None:
        """Every record that was polled has been `opened`; `position` says what is read next of a partition.

        Not so of one that is being revoked: what was polled of it last may be left to its next owner.
        """
        for place, partition in self._by_place.items():
            read = position(place)
            if read is not None and partition.active:
                partition.read_to(read)

    def commits(self) -> dict[PartitionId, tuple[int, str]]:
        """What has to be committed now."""
        due = {place: partition.due_commit() for place, partition in self._by_place.items()}
        return {place: position for place, position in due.items() if position is not None}

    def committed(self, positions: Mapping[PartitionId, tuple[int, str]]) -> None:
        """These commits succeeded."""
        for place, position in positions.items():
            if place in self._by_place:
                self._by_place[place].committed = position

    def busy(self, places: Iterable[PartitionId]) -> bool:
        """Whether something of these is in flight or being settled: a moment later it would be finished."""
        return any(each.flying or each.settling for each in self.of(places))

    @property
    def open(self) -> int:
        """Offsets handed out and unfinished, in all."""
        return sum(each.watermark.open for each in self._by_place.values() if each.watermark)

    @property
    def open_bytes(self) -> int:
        """Bytes of the values that are open, in all."""
        return sum(each.open_bytes for each in self._by_place.values())
