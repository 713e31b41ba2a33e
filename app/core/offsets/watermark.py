"""Which offsets of one partition are finished, and what may be committed.

Rules of this file
- An offset is *open* from the moment it is handed out until everything it causes is acknowledged.
- `committable` is the lowest open offset (or the next to be read): nothing at or above it is committed as done.
- What is finished is kept as runs, of which there are no more than open offsets: a commit costs what its metadata has
  room for, however much is finished above one slow request.
- What finished above it is remembered in the commit's metadata, so that a crash repeats only what was open or was
  finished after the last commit (DESIGN guarantee 2). The metadata is a hint: losing it costs duplicates only.

    offset   5   6   7   8   9   10
    state    ok  open ok  ok open (next)      committable = 6, metadata = {7, 8}
"""

from __future__ import annotations

import base64

from app.core.offsets.log_moves import STAMP_LENGTH
from app.core.offsets.runs import Runs

#: Kafka's default limit of a commit's metadata, in characters, without the log's id that goes before it
METADATA_LIMIT = 4096 - STAMP_LENGTH
_VERSION = "1:"
#: a longer run than any window of ours cannot be our writing
_SANE_RUN = 10_000_000


class OffsetWatermark:
    """The finished and open offsets of one assigned partition. Not thread-safe; one per assignment."""

    __slots__ = ("_done", "_low", "_metadata", "next", "open")

    def __init__(self, start: int, finished: Runs | None = None) -> None:
        """`start` is the committed offset, `finished` what its metadata said."""
        self._low = start
        self._done = finished or Runs()
        #: as it was encoded last; None: something has changed
        self._metadata: str | None = None
        #: the offset after the last one handed out
        self.next = start
        #: how many offsets are handed out and unfinished
        self.open = 0

    def opened(self, offset: int) -> bool:
        """Hand out `offset`; False when it was finished before a crash and must not be worked on again.

        Offsets arrive ascending. A gap (compaction, transaction markers) counts as finished.
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
        """Reading has come to `position`, and everything below it was handed out; whether `committable` has moved.

        The last records may be markers of transactions, which are never handed out. While something is open nothing
        changes: the gap is passed when the last open offset is finished.
        """
        if self.open or position <= self.next:
            return False
        self._low = self.next = position
        self._done.forget_below(position)
        self._metadata = None
        return True

    def finished(self, offset: int) -> None:
        """Everything that `offset` caused is acknowledged."""
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
        """The offset to commit: every smaller one is finished."""
        return self._low

    def metadata(self) -> str:
        """The finished offsets above `committable`, for the commit; the lowest runs win when the limit is reached."""
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
        piece = _varint(start - position) + _varint(stop - start)
        if len(out) + len(piece) > limit:
            break
        out += piece
        position = stop
    return _VERSION + base64.b64encode(bytes(out)).decode()


def decode_finished(low: int, metadata: str) -> Runs:
    """The reverse; anything that is not ours (an operator's note, another version) means: nothing known."""
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
