"""Who is sent next: one bounded lane for each endpoint, fair among lanes, so that no endpoint costs another anything.

Rules of this file (DESIGN guarantee 6)
- A lane holds what its endpoint can take within `max_wait_ms`, judged by the pace it shows; everything beyond is
  refused with the time when the endpoint could take it (virtual finish time). The caller defers it through the ladder.
  That time is a guess, and an endpoint in trouble recovers: it reaches twice as far as the trouble has lasted.
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
#: exchanges that an estimate is smoothed over: right after a failure the next few say little
_SMOOTHED = 32
#: the pace assumed of an endpoint that nothing is known of
_FIRST_GUESS_MS = 20.0
#: an endpoint that is silent for that long says something about itself; less may be our own hiccup
_HANGS_MS = 1000
#: lanes remembered; idle ones are forgotten beyond
_MAX_LANES = 20_000
#: overflow is put off by at least the shortest rung
_MIN_DEFER_MS = 1000
#: the pace of an endpoint without a rate limit is trusted for that long at least
_MIN_REACH_MS = 5000
#: steps of this share, modulo 1, spread any number of points evenly
_GOLDEN = 0.618034


class _Lane(Generic[T]):
    __slots__ = (
        "allowed_ms",
        "answered_ms",
        "busy_ms",
        "cap",
        "departure_ms",
        "flying",
        "id",
        "interval_ms",
        "limit",
        "queue",
        "queued",
        "turn",
        "virtual_ms",
    )

    def __init__(self, endpoint_id: str, cap: int) -> None:
        self.id = endpoint_id
        self.queue: deque[T] = deque()
        #: start times of what is in flight, oldest first
        self.flying: dict[T, float] = {}
        self.cap = cap
        self.limit = cap
        #: when the endpoint said anything last
        self.answered_ms = 0.0
        #: smoothed: an exchange's duration by the places that there were for it
        self.departure_ms = _FIRST_GUESS_MS / cap
        #: between two requests, where the endpoint has a rate limit; else 0
        self.interval_ms = 0.0
        #: not before that time (rate limit)
        self.allowed_ms = 0.0
        #: the virtual finish time of what was refused last
        self.virtual_ms = 0.0
        #: where in the reach the last refused one went, from 0 to 1
        self.turn = 0.0
        #: since when it has had something to do without a break
        self.busy_ms = 0.0
        #: in the round, or waiting to come back to it
        self.queued = False

    def service_ms(self, now_ms: float) -> float:
        """Time between two departures at the pace it shows; its silence counts, while requests wait for an answer."""
        service = max(self.departure_ms, self.interval_ms)
        if self.flying:
            silence = now_ms - max(self.answered_ms, next(iter(self.flying.values())))
            if silence >= _HANGS_MS:
                service = max(service, silence / self.limit)
        return service


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
        if not lane.queue:
            lane.busy_ms = now_ms
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
        lane.departure_ms += (took / lane.limit - lane.departure_ms) / _SMOOTHED
        lane.limit = min(lane.cap, lane.limit + 1) if answered else max(1, lane.limit // 2)
        if answered:
            lane.answered_ms = now_ms
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
        ahead_ms = lane.virtual_ms - now_ms
        if not lane.interval_ms:
            # The pace is a guess from what happened last: it reaches twice as far as the trouble has lasted.
            reach_ms = min(self._limits.horizon_ms, max(_MIN_REACH_MS, 2 * (now_ms - lane.busy_ms)))
            lane.turn = (lane.turn + _GOLDEN) % 1
            ahead_ms = min(ahead_ms, _MIN_DEFER_MS + lane.turn * (reach_ms - _MIN_DEFER_MS))
        return round(now_ms + max(ahead_ms, _MIN_DEFER_MS))

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
