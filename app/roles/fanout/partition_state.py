"""What fan-out remembers of a partition during one assignment: its read position, and sequences planned ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.roles.fanout import reset_detection
from app.roles.fanout.reset_detection import checkpoint_key, position_key

#: reads a key of a table
TableLookup = Callable[[str, bytes], bytes | None]


class PartitionState:
    """The tables of a partition, with planned entries that are not written to them yet."""

    def __init__(
        self, number: int, read: TableLookup, *, group: str, start: int, was_reset: bool = False, moved: bool = False
    ) -> None:
        """Reading begins at the offset `start`; `was_reset` and `moved` as in `reset_detection.begin`."""
        self.number = number
        self.start = start
        self._read = read
        #: sequences that are planned, and not in the table before their events are acknowledged
        self._ahead: dict[bytes, bytes] = {}
        stored = reset_detection.read(read("positions", position_key(number)))
        #: how far the partition is planned
        self.position = reset_detection.begin(stored, group, number, start, was_reset=was_reset, moved=moved)
        checkpoint = read("positions", checkpoint_key(number))
        void = was_reset or moved
        #: how far an earlier assignment has acknowledged the event that it was cutting
        self.checkpoint = None if void else reset_detection.read_checkpoint(checkpoint)
        self._void_checkpoint = void and checkpoint is not None

    def accepted(self, key: bytes) -> bytes | None:
        """The accepted records of an idempotency key, as stored."""
        return self._read("idempotency", key)

    def sequence(self, key: bytes) -> bytes | None:
        """The latest planned sequence of an ordering key, as stored."""
        return self._ahead.get(key) or self._read("ordering", key)

    def advance(self, next_offset: int, sequences: Mapping[bytes, bytes]) -> dict[bytes, bytes | None]:
        """Count a planned slice that ends before `next_offset`. Returns the writes to the table `positions`."""
        self._ahead.update(sequences)
        self.position = reset_detection.advance(self.position, next_offset)
        items: dict[bytes, bytes | None] = {position_key(self.number): reset_detection.write(self.position)}
        if self._void_checkpoint:
            items[checkpoint_key(self.number)] = None
            self._void_checkpoint = False
        return items

    def written(self, sequences: Mapping[bytes, bytes | None]) -> None:
        """Forget planned sequences that are in the table now."""
        for key, value in sequences.items():
            if self._ahead.get(key) == value:
                del self._ahead[key]
