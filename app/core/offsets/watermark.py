"""The finished offsets of one partition, and the offset that may be committed.

Rules of this file
- An offset is *open* from the moment its record is handed out until all outputs of the record are acknowledged.
- `committable` is the lowest open offset, or the next one to be read. Every smaller offset is finished.
- Finished offsets are stored as runs, of which there are at most as many as open offsets. The cost of a commit is
  bounded by its metadata, however many offsets are finished above one slow request.
- Finished offsets above `committable` are in the metadata of the commit. A crash therefore repeats only records that
  were open, or finished after the last commit (DESIGN guarantee 2). Losing the metadata costs duplicates only.

    offset   5   6   7   8   9   10
    state    ok  open ok  ok open (next)      committable = 6, metadata = {7, 8}
"""

from __future__ import annotations

import base64

from app.core.offsets.log_moves import STAMP_LENGTH
from app.core.offsets.runs import Runs

#: Kafka's default limit of a commit's metadata in characters, less the stamp with the log's id
METADATA_LIMIT = 4096 - STAMP_LENGTH
_VERSION = "1:"
#: a longer run than any window of open records was not written by Hookstream
_SANE_RUN = 10_000_000


class OffsetWatermark:
    """The finished and open offsets of one assigned partition. Not thread-safe; one per assignment."""

    __slots__ = ("_done", "_low", "_metadata", "next", "open")

    def __init__(self, start: int, finished: Runs | None = None) -> None:
        """`start` is the committed offset, `finished` are the offsets in its metadata."""
        self._low = start
        self._done = finished or Runs()
        #: the last encoded metadata; None: it has changed since
        self._metadata: str | None = None
        #: the offset after the last one handed out
        self.next = start
        #: the number of open offsets
        self.open = 0

    def opened(self, offset: int) -> bool:
        """Open `offset`; returns False if it was finished before a crash, and must not be processed again.

        Offsets are opened in ascending order. Gaps (compaction, transaction markers) count as finished.
        """
        if offset > self.next:
            self._metadata = None
            if self._low == self.next:
                self._low = offset
                self._done.forget_below(offset)  # the log may have lost its beginning
            else:
                self._done.add(self.next, offset)
        self.next = offset + 1
        if offset in self._done:
            self._advance()
            return False
        self.open += 1
        return True

    def read_to(self, position: int) -> bool:
        """Note that everything below `position` was read and opened; returns whether `committable` has moved.

        The last offsets may be transaction markers, which are never opened. While an offset is open nothing changes:
        the markers are skipped when the last open offset is finished.
        """
        if self.open or position <= self.next:
            return False
        self._low = self.next = position
        self._done.forget_below(position)
        self._metadata = None
        return True

    def finished(self, offset: int) -> None:
        """Note that all outputs of the record at `offset` are acknowledged."""
        if offset >= self._low and offset not in self._done:
            self.open -= 1
            self._done.add(offset, offset + 1)
            self._metadata = None
            if offset == self._low:
                self._advance()

    def _advance(self) -> None:
        low = max(self._low, min(self._done.end_of(self._low), self.next))
        if low > self._low:
            self._low = low
            self._done.forget_below(low)
            self._metadata = None

    @property
    def committable(self) -> int:
        """The offset to commit."""
        return self._low

    def metadata(self) -> str:
        """The finished offsets above `committable`, encoded; at the limit the highest runs are left out."""
        if self._metadata is None:
            self._metadata = encode_finished(self._low, self._done)
        return self._metadata


def encode_finished(low: int, done: Runs) -> str:
    """Runs of (gap, length) as varints in base64; offsets are relative to `low`."""
    if not done:
        return ""
    out = bytearray()
    limit = (METADATA_LIMIT - len(_VERSION)) // 4 * 3
    position = low
    for start, stop in done:
        run = _varint(start - position) + _varint(stop - start)
        if len(out) + len(run) > limit:
            break
        out += run
        position = stop
    return _VERSION + base64.b64encode(bytes(out)).decode()


def decode_finished(low: int, metadata: str) -> Runs:
    """The finished offsets of a commit's metadata; none if another program or version has written it."""
    done = Runs()
    if not metadata.startswith(_VERSION):
        return done
    try:
        data = base64.b64decode(metadata[len(_VERSION) :], validate=True)
    except ValueError:
        return done
    position, numbers = low, _numbers(data)
    for gap, length in zip(numbers[::2], numbers[1::2], strict=False):
        if length > _SANE_RUN:
            break
        position += gap
        done.add(position, position + length)
        position += length
    return done


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _numbers(data: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return numbers
