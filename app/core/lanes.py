"""Who is sent next: one bounded lane for each endpoint, fair among lanes, so that no endpoint costs another anything.

Rules of this file (DESIGN guarantee 6)
- A lane holds what its endpoint can take within `max_wait_ms`, judged by the pace it shows; everything beyond is
  refused with the time when the endpoint could take it (virtual finish time). The caller defers it through the ladder.
- A lane's limit of requests in flight halves when a request ends without an answer, grows by one with each answer.
- Dynamic threshold: a lane may not hold more than an eighth of the free places, so that many hanging endpoints together
  still leave places to the others.
- Breadth: requests in flight in total grow only while the worker has CPU to spare. More gain a busy worker nothing
  but connections and waiting.
- Lanes take turns; a lane that waits for a place or for its rate is out of the round until something changes.

         offer ──▶ queue ──▶ [round] ──▶ take ──▶ in flight ──▶ done
           │ Full(until)        ▲  │ over threshold      │
           ▼                    └── starved ◀────────────┘
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one dispatch worker."""

    #: requests in flight in total
    in_flight: int = 1024
    #: requests in flight for one endpoint, unless it says otherwise
    per_endpoint: int = 32
    #: deliveries waiting in one lane
    queue: int = 2000
    #: the longest that a delivery should wait in a lane
    max_wait_ms: int = 2000
    #: the farthest that one overflow is put off; what still does not fit then is put off again
    horizon_ms: int = 300_000


class Full(msgspec.Struct, frozen=True):
    """The lane refuses; the endpoint could take the delivery at `until_ms`."""

    until_ms: int


#: the breadth to begin with: enough for a hundred answers that take as long as a hundred requests of ours
_NARROW = 128
#: a share of the free places that one lane may hold, as a divisor
_SHARE = 8
#: the pace assumed of an endpoint that nothing is known of
_FIRST_GUESS_MS = 20.0
#: a request without an answer for that long says something about the endpoint; a shorter one may be our own hiccup
_HANGS_MS = 1000
#: lanes remembered; idle ones are forgotten beyond
_MAX_LANES = 20_000
#: overflow is put off by at least the shortest rung
_MIN_DEFER_MS = 1000


class _Lane(Generic[T]):
    __slots__ = (
        "allowed_ms",
        "cap",
        "flying",
        "id",
        "interval_ms",
        "limit",
        "pace_ms",
        "queue",
        "queued",
        "virtual_ms",
    )

    def __init__(self, endpoint_id: str, cap: int) -> None:
        self.id = endpoint_id
        self.queue: deque[T] = deque()
        #: start times of what is in flight, oldest first
        self.flying: dict[T, float] = {}
        self.cap = cap
        self.limit = cap
        #: smoothed duration of an exchange
        self.pace_ms = _FIRST_GUESS_MS
        #: between two requests, where the endpoint has a rate limit; else 0
        self.interval_ms = 0.0
        #: not before that time (rate limit)
        self.allowed_ms = 0.0
        #: the virtual finish time of what was refused last
        self.virtual_ms = 0.0
        #: in the round, or waiting to come back to it
        self.queued = False

    def service_ms(self, now_ms: float) -> float:
        """Time between two departures at the pace it shows: a hanging request counts with its age."""
        pace = self.pace_ms
        if self.flying:
            age = now_ms - next(iter(self.flying.values()))
            if age >= _HANGS_MS:
                pace = max(pace, age)
        return max(pace / self.limit, self.interval_ms)


class Lanes(Generic[T]):
    """All lanes of one worker. `T` is opaque, hashable and unique (one object for each delivery handed in)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lanes: dict[str, _Lane[T]] = {}
        self._round: deque[_Lane[T]] = deque()
        #: over the threshold, the longest waiting first
        self._starved: dict[str, _Lane[T]] = {}
        self._timed: list[tuple[float, str]] = []
        #: requests that may be under way now; between `_NARROW` and the limit
        self.breadth = min(_NARROW, limits.in_flight)
        #: requests under way
        self.in_flight = 0
        #: deliveries waiting in all lanes
        self.waiting = 0

    def offer(
        self, endpoint_id: str, item: T, now_ms: float, *, cap: int | None = None, rate: float | None = None
    ) -> Full | None:
        """Queue `item` (None), or refuse it (`Full`). `cap` and `rate` are the endpoint's own limits."""
        lane = self._lane(endpoint_id, cap or self._limits.per_endpoint, rate)
        service = lane.service_ms(now_ms)
        length = len(lane.queue)
        patient = max(0.0, lane.allowed_ms - now_ms) + length * lane.interval_ms
        if (
            length >= self._limits.queue
            or patient > self._limits.max_wait_ms
            or (length >= lane.limit and length * service > self._limits.max_wait_ms)
        ):
            return Full(self._virtual_finish(lane, now_ms, service))
        lane.queue.append(item)
        self.waiting += 1
        self._enter(lane)
        return None

    def take(self, now_ms: float) -> T | None:
        """The next delivery to send, which is then in flight; None: nothing may be sent now."""
        while self._timed and self._timed[0][0] <= now_ms:
            self._round.append(self._lanes[heappop(self._timed)[1]])
        threshold = max(1, (self._limits.in_flight - self.in_flight) // _SHARE)
        while self._round and self.in_flight < self.breadth:
            lane = self._round.popleft()
            if not lane.queue or len(lane.flying) >= lane.limit:
                lane.queued = False
            elif len(lane.flying) >= threshold:
                self._starved[lane.id] = lane
            elif lane.allowed_ms > now_ms:
                heappush(self._timed, (lane.allowed_ms, lane.id))
            else:
                return self._depart(lane, now_ms)
        return None

    def _depart(self, lane: _Lane[T], now_ms: float) -> T:
        item = lane.queue.popleft()
        lane.flying[item] = now_ms
        self.in_flight += 1
        self.waiting -= 1
        if lane.interval_ms:
            lane.allowed_ms = max(lane.allowed_ms, now_ms - lane.interval_ms) + lane.interval_ms
        self._round.append(lane)
        return item

    def done(self, endpoint_id: str, item: T, now_ms: float, *, answered: bool) -> None:
        """The exchange is over; `answered` = the receiver said anything at all, of whatever status."""
        lane = self._lanes[endpoint_id]
        took = now_ms - lane.flying.pop(item)
        self.in_flight -= 1
        lane.pace_ms += (took - lane.pace_ms) / 8
        lane.limit = min(lane.cap, lane.limit + 1) if answered else max(1, lane.limit // 2)
        # A place is free: for this lane, which may have fallen below the threshold, and for the one that waits longest.
        if self._starved.pop(endpoint_id, None) is not None:
            self._round.append(lane)
        if self._starved:
            self._round.append(self._starved.pop(next(iter(self._starved))))
        self._enter(lane)

    def stalled(self, now_ms: float) -> list[tuple[T, int]]:
        """Take out what waits behind an endpoint that has slowed down, newest first, each with its new due time."""
        shed: list[tuple[T, int]] = []
        for lane in self._lanes.values():
            service = lane.service_ms(now_ms)
            enough = int(self._limits.max_wait_ms / service) if service else len(lane.queue)
            keep = enough if lane.interval_ms else max(lane.limit, enough)
            if len(lane.queue) * service <= 2 * self._limits.max_wait_ms:
                continue
            while len(lane.queue) > keep:
                item = lane.queue.pop()
                self.waiting -= 1
                shed.append((item, self._virtual_finish(lane, now_ms, service)))
        return shed

    def too_narrow(self) -> bool:
        """Whether something could be sent if the breadth were greater."""
        return bool(self._round) and self.breadth <= self.in_flight < self._limits.in_flight

    def saturated(self) -> bool:
        """Whether more work in hand than can be begun soon is waiting for nothing but the breadth: take in no more."""
        return bool(self._round) and self.in_flight >= self.breadth and self.waiting >= 4 * self.breadth

    def widen(self) -> None:
        """The worker has CPU to spare."""
        self.breadth = min(self._limits.in_flight, self.breadth * 2)

    def narrow(self) -> None:
        """Called now and then: give back a breadth that is not used."""
        if self.in_flight < self.breadth // 4:
            self.breadth = min(self._limits.in_flight, max(_NARROW, self.breadth // 2))

    def clear(self) -> list[T]:
        """Empty all queues (not what is in flight) and give back what waited."""
        left = [item for lane in self._lanes.values() for item in lane.queue]
        for lane in self._lanes.values():
            lane.queue.clear()
        self.waiting = 0
        return left

    def wake_at_ms(self) -> float | None:
        """When the next rate-limited lane may send; None: no lane waits for time."""
        return self._timed[0][0] if self._timed else None

    def _virtual_finish(self, lane: _Lane[T], now_ms: float, service: float) -> int:
        begin_ms = max(now_ms, lane.allowed_ms) if lane.interval_ms else now_ms
        lane.virtual_ms = max(lane.virtual_ms, begin_ms + len(lane.queue) * service) + service
        lane.virtual_ms = min(lane.virtual_ms, now_ms + self._limits.horizon_ms)
        return round(max(lane.virtual_ms, now_ms + _MIN_DEFER_MS))

    def _lane(self, endpoint_id: str, cap: int, rate: float | None) -> _Lane[T]:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            if len(self._lanes) >= _MAX_LANES:
                self._forget_idle()
            lane = self._lanes[endpoint_id] = _Lane(endpoint_id, cap)
        if lane.cap != cap:
            lane.cap = cap
            lane.limit = min(lane.limit, cap)
        lane.interval_ms = 1000 / rate if rate else 0.0
        return lane

    def _enter(self, lane: _Lane[T]) -> None:
        if not lane.queued and lane.queue and len(lane.flying) < lane.limit:
            lane.queued = True
            self._round.append(lane)

    def _forget_idle(self) -> None:
        for lane in [each for each in self._lanes.values() if not each.queue and not each.flying and not each.queued]:
            del self._lanes[lane.id]
