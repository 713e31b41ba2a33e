"""What a replay appends, in which order and at what pace: the decisions of the replay role.

Rules of this file
- A replay's `done` is, for each partition, the lowest offset that is not finished. A crash goes on there: what was
  finished above it is appended again, nothing is ever left out.
- A replay never fills its endpoint's lane: `Window` allows so many deliveries that have not been attempted.
- What a pause has held back comes oldest first within the bounds of a look-ahead (`OldestFirst`); what is read from
  events.raw again comes in the order of the records' timestamps (`Merge`), as fan-out decided it (replay_choice.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush
from typing import Literal

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay
from app.core.records.record import Kept

#: deliveries of one replay that have not been attempted
_WINDOW = 32


#: the same where the sequencer lets them out one by one: a key that waits must not stop the others
_WINDOW_IN_LINE = 1000


#: as many as a rate limit lets through in that time
_RATE_S = 2


#: the attempt of a delivery may be deferred: after so long without any, one more goes
STALLED_S = 60.0


#: so long without any, and other endpoints of the replay are waited for no longer
STUCK_S = 5.0


#: records that may wait for older ones, and their bytes
_LOOK_AHEAD = 2000


_LOOK_AHEAD_BYTES = 16 * 1024 * 1024


def workable(directory: Directory, without: Collection[str]) -> list[Replay]:
    """The replays that can be worked on now, oldest first: of each endpoint one, and of each tenant's and mode's one.

    A resume or a recovery whose endpoint is paused or disabled waits; a replay goes on (`Fate`). One whose endpoint is
    gone has only to be ended.
    """
    first: dict[tuple[str, str, str, bool], Replay] = {}
    still = [each for each in directory.replays.values() if each.state in ("pending", "running")]
    for each in sorted(still, key=lambda each: (each.created_at_ms, each.id)):
        if each.id not in without:
            place = (each.tenant, each.mode, each.endpoint_id, each.reason == "replay")
            first.setdefault(place, each)
    return [each for each in first.values() if not _waits(each, directory)]


def _waits(replay: Replay, directory: Directory) -> bool:
    endpoint = directory.endpoint(replay.endpoint_id) if replay.reason != "replay" else None
    return endpoint is not None and endpoint.status != "active"


Fate = Literal["deliver", "aside", "skip"]


def fate(endpoint: Endpoint | None) -> Fate:
    """What becomes of a replayed delivery: a paused endpoint's is put aside for its resume, as fan-out does it."""
    if endpoint is None or endpoint.status == "disabled":
        return "skip"
    return "aside" if endpoint.status == "paused" else "deliver"


def aside_until(endpoint: Endpoint, replay: Replay) -> int | None:
    """Where a resume ends at the latest: what a later pause has put aside belongs to its own resume."""
    holds, own = endpoint.holds, (replay.begin, replay.end, replay.dead_begin)
    # Holds between which nothing happened look alike: better all of their resumes give it than none.
    mine = [at for at, hold in enumerate(holds) if (hold.begin, hold.end, hold.dead_begin) == own]
    later = holds[mine[-1] + 1 :] if mine else [each for each in holds if each.since_ms >= replay.created_at_ms]
    return later[0].dead_begin if later else None


def window_of(endpoint: Endpoint) -> int:
    """How many of an endpoint's replayed deliveries may be unattempted at once."""
    limit = _WINDOW if endpoint.ordering == "none" else _WINDOW_IN_LINE
    if endpoint.rate_limit is not None:
        limit = max(1, min(limit, int(endpoint.rate_limit * _RATE_S)))
    return min(limit, endpoint.max_in_flight or limit)


class Window:
    """The deliveries of one replay that were appended and not yet attempted."""

    def __init__(self, now_s: float) -> None:
        self._open: dict[str, None] = {}
        self._moved_s = now_s
        self._attempted_s = now_s

    def free(self, limit: int, now_s: float) -> int:
        """How many may be appended now. When nothing has moved for a while the oldest is given up."""
        if len(self._open) >= limit and now_s - self._moved_s >= STALLED_S:
            while len(self._open) >= limit:
                del self._open[next(iter(self._open))]
            self._moved_s = now_s
            return 1
        return max(0, limit - len(self._open))

    def sent(self, delivery_id: str, now_s: float) -> None:
        """It is about to be appended."""
        if not self._open:
            self._attempted_s = now_s
        self._open[delivery_id] = None
        self._moved_s = now_s

    def attempted(self, delivery_id: str, now_s: float) -> bool:
        """An attempt record was seen; whether it is one of these."""
        if delivery_id not in self._open:
            return False
        del self._open[delivery_id]
        self._moved_s = self._attempted_s = now_s
        return True

    def stuck(self, now_s: float) -> bool:
        """Deliveries are under way, and none has been attempted for seconds: the endpoint hangs, or has a low rate."""
        return bool(self._open) and now_s - self._attempted_s >= STUCK_S


class OldestFirst:
    """Records of one partition of deliveries.dead, handed out oldest first.

    `as_written`: in their own order, whatever their times are. The sequencer has put them there in sequence.
    """

    def __init__(
        self, start: int, capacity: int = _LOOK_AHEAD, capacity_bytes: int = _LOOK_AHEAD_BYTES, *,
        as_written: bool = False,
    ) -> None:  # fmt: skip
        self._as_written = as_written
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        #: (accepted, sequence, offset): the sequence tells apart what was accepted in the same millisecond
        self._heap: list[tuple[int, int, int]] = []
        #: what is not done yet, by offset, ascending
        self._open: dict[int, Kept] = {}
        self._taken: set[int] = set()
        self._bytes = 0
        #: handed out since the lowest one has been waiting
        self._passed = 0
        #: the offset up to which the partition was read
        self.position = start

    @property
    def full(self) -> bool:
        """Nothing more should be read now."""
        return len(self._open) >= self._capacity or self._bytes >= self._capacity_bytes

    @property
    def waiting(self) -> bool:
        """There is something to hand out."""
        return len(self._taken) < len(self._open)

    @property
    def low(self) -> int:
        """The lowest offset that is not done."""
        return next(iter(self._open), self.position)

    def add(self, record: Kept) -> None:
        """A record that waits; records come in the order of their offsets."""
        named = {} if self._as_written else dict(record.headers)
        self._open[record.offset] = record
        self._bytes += len(record.value or b"")
        heappush(self._heap, (_number(named, "accepted-at"), _number(named, "sequence"), record.offset))

    def moved(self, position: int) -> None:
        """The partition was read up to there."""
        self.position = max(self.position, position)

    def take(self, most: int) -> list[Kept]:
        """The oldest that were not taken yet.

        One that is newer than all that come after it (a producer's clock is wrong) is passed over so many times, no
        more: it holds the progress back, and a crash would repeat everything above it.
        """
        taken: list[Kept] = []
        while len(taken) < most and self.waiting:
            lowest = next(iter(self._open))
            offset = lowest if self._passed >= self._capacity and lowest not in self._taken else heappop(self._heap)[2]
            if offset not in self._open or offset in self._taken:
                continue  # it was taken before its turn
            self._passed = 0 if offset == lowest else self._passed + 1
            self._taken.add(offset)
            taken.append(self._open[offset])
        return taken

    def done(self, record: Kept) -> None:
        """It has been appended and acknowledged."""
        self._bytes -= len(self._open.pop(record.offset).value or b"")
        self._taken.discard(record.offset)


class Merge:
    """Stretches of several partitions, merged by the records' timestamps; a partition's own order is kept."""

    def __init__(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        self._ends = ends
        self._buffers: dict[int, deque[Kept]] = {partition: deque() for partition in begins}
        #: how far each partition was read
        self._read = dict(begins)
        self._heads: list[tuple[int, int]] = []

    def hungry(self) -> list[int]:
        """The partitions that must be read before the next record is known."""
        return [each for each, buffer in self._buffers.items() if not buffer and self._read[each] < self._ends[each]]

    def feed(self, partition: int, records: Iterable[Kept], position: int) -> None:
        """What was read of a hungry partition, and where its reading stands now."""
        buffer = self._buffers[partition]
        buffer.extend(record for record in records if record.offset < self._ends[partition])
        self._read[partition] = min(position, self._ends[partition])
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))

    def take(self) -> Kept | None:
        """The next record (no partition may be hungry); None: that was all."""
        if not self._heads:
            return None
        partition = heappop(self._heads)[1]
        buffer = self._buffers[partition]
        record = buffer.popleft()
        if buffer:
            heappush(self._heads, (buffer[0].timestamp, partition))
        return record

    def positions(self) -> dict[int, int]:
        """For each partition the lowest offset that was not taken."""
        return {
            partition: buffer[0].offset if buffer else self._read[partition]
            for partition, buffer in self._buffers.items()
        }


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = headers.get(name, b"")
    return int(text) if text is not None and text.isdigit() and len(text) <= 19 else 0
