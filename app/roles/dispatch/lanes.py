"""Who is sent next: one bounded lane for each endpoint, fair among lanes, so that no endpoint costs another anything.

Rules of this file (DESIGN guarantee 6)
- A lane holds what its endpoint can take within `max_wait_ms`, judged by the pace it shows; everything beyond is
  refused with the time when the endpoint could take it. The caller defers it through the ladder.
- With a rate limit that time is exact, however far ahead: each refused delivery has a slot of its own. Deliveries
  with a slot go before new arrivals.
- Without one it is a guess from the pace, capped at twice the duration of the trouble, because slow endpoints recover.
- Behind an endpoint that is silent the circuit decides (roles/dispatch/circuit.py): nothing is sent but probes.
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
from typing import Generic, Literal, TypeVar

import msgspec

from app.roles.dispatch.circuit import Change, Circuit
from app.roles.dispatch.lane import MIN_DEFER_MS, Lane

T = TypeVar("T")


class LaneLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one dispatch worker."""

    #: requests in flight in total
    in_flight: int = 1024
    #: requests in flight for one endpoint, unless it says otherwise
    per_endpoint: int = 32
    #: deliveries waiting in one lane
    queue: int = 2000
    #: the longest that a delivery should wait in a lane
    max_wait_ms: int = 2000


#: why a delivery is put off: more wait than the endpoint takes at its pace, or at its rate; or its circuit is open
Why = Literal["lane_full", "rate_limit", "circuit_open"]


class LaneFull(msgspec.Struct, frozen=True):
    """The lane refuses; the endpoint could take the delivery at `until_ms`."""

    until_ms: int
    why: Why = "lane_full"


#: the breadth to begin with: enough for a hundred answers that take as long as a hundred requests of ours
_NARROW = 128
#: a share of the free places that one lane may hold, as a divisor
_SHARE = 8
#: lanes remembered; idle ones are forgotten beyond
_MAX_LANES = 20_000


class Lanes(Generic[T]):
    """All lanes of one worker. `T` is opaque, hashable and unique (one object for each delivery handed in)."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._lanes: dict[str, Lane[T]] = {}
        self._round: deque[Lane[T]] = deque()
        #: over the threshold, the longest waiting first
        self._starved: dict[str, Lane[T]] = {}
        self._timed: list[tuple[float, str]] = []
        #: endpoints whose circuit is not closed
        self._open: set[str] = set()
        #: changes of circuits; the caller reads and clears them
        self.changes: list[Change] = []
        #: requests that may be in flight now; between `_NARROW` and the limit
        self.breadth = min(_NARROW, limits.in_flight)
        #: requests in flight
        self.in_flight = 0
        #: deliveries waiting in all lanes
        self.waiting = 0

    @property
    def circuits_open(self) -> int:
        """Endpoints whose circuit is open or half-open."""
        return len(self._open)

    def offer(
        self,
        endpoint_id: str,
        item: T,
        now_ms: float,
        *,
        cap: int | None = None,
        rate: float | None = None,
        epoch: int = 1,
        open_since_ms: float | None = None,
        again: bool = False,
        urgent: bool = False,
    ) -> LaneFull | None:
        """Queue `item` (None), or refuse it (`Full`).

        `cap` and `rate` are the endpoint's own limits, `epoch` its epoch. `open_since_ms`: another worker has opened
        its circuit then; this one may have newer information. `again`: it was refused before, and its time has come.
        `urgent`: it is retried manually, so an open circuit lets it pass.
        """
        lane = self._lane(endpoint_id, cap or self._limits.per_endpoint, rate, epoch)
        if open_since_ms is not None and lane.circuit is None:
            lane.circuit = Circuit()
            lane.circuit.restored(open_since_ms, now_ms)
            lane.limit = 1
            self._open.add(endpoint_id)
        service = lane.service_ms(now_ms)
        length = len(lane.queue)
        patient = max(0.0, lane.allowed_ms - now_ms) + length * lane.interval_ms
        if lane.circuit is not None and lane.circuit.state != "closed":
            return self._pass(lane, lane.circuit, item, now_ms, patient, urgent=urgent)
        if (
            length >= self._limits.queue
            or patient > self._limits.max_wait_ms
            or (lane.interval_ms and not again and lane.virtual_ms - now_ms > self._limits.max_wait_ms)
            or (length >= lane.limit and length * service > self._limits.max_wait_ms)
        ):
            return self._full(lane, now_ms, service)
        lane.queue.append(item)
        self.waiting += 1
        self._enter(lane)
        return None

    def _pass(
        self, lane: Lane[T], circuit: Circuit[T], item: T, now_ms: float, patient: float, *, urgent: bool
    ) -> LaneFull | None:
        """The offer to a lane whose circuit is not closed."""
        if patient > self._limits.max_wait_ms and not urgent:
            return self._full(lane, now_ms, lane.interval_ms)
        was = circuit.state
        if not circuit.admits(item, now_ms, urgent=urgent):
            return LaneFull(round(max(circuit.put_off(now_ms), now_ms + MIN_DEFER_MS)), "circuit_open")
        if circuit.state != was:
            self._changed(lane, circuit)
        lane.queue.appendleft(item)
        self.waiting += 1
        self._enter(lane)
        return None

    def take(self, now_ms: float) -> T | None:
        """The next delivery to send, which is then in flight; None: nothing may be sent now."""
        while self._timed and self._timed[0][0] <= now_ms:
            at_ms, endpoint_id = heappop(self._timed)
            lane = self._lanes.get(endpoint_id)
            if lane is not None and lane.timed_ms == at_ms:
                self._due(lane)
        threshold = max(1, (self._limits.in_flight - self.in_flight) // _SHARE)
        while self._round and self.in_flight < self.breadth:
            lane = self._round.popleft()
            if not lane.queue or len(lane.flying) >= lane.limit or lane.is_shut():
                lane.queued = False
            elif len(lane.flying) >= threshold:
                self._starved[lane.id] = lane
            elif lane.allowed_ms > now_ms:
                lane.timed_ms = lane.allowed_ms
                heappush(self._timed, (lane.allowed_ms, lane.id))
            else:
                return self._depart(lane, now_ms)
        return None

    def _depart(self, lane: Lane[T], now_ms: float) -> T:
        item = lane.queue.popleft()
        lane.flying[item] = now_ms
        self.in_flight += 1
        self.waiting -= 1
        if lane.circuit is not None:
            lane.circuit.passes.discard(item)
        if lane.interval_ms:
            lane.departed_ms = max(lane.allowed_ms, now_ms - lane.interval_ms)
            lane.allowed_ms = lane.departed_ms + lane.interval_ms
        self._round.append(lane)
        return item

    def done(self, endpoint_id: str, item: T, now_ms: float, *, answered: bool | None) -> None:
        """The exchange is over; `answered` = the receiver said anything at all, of whatever status. None: this was no
        exchange, or says nothing about the receiver.
        """
        lane = self._lanes[endpoint_id]
        begun_ms = lane.flying.pop(item)
        self.in_flight -= 1
        if answered is not None:
            lane.ended(now_ms - begun_ms, answered=answered)
        if lane.circuit is not None or answered is False:
            self._judge(lane, item, begun_ms, now_ms, answered)
        if answered:
            lane.answered_ms = now_ms
        # A place is free: for this lane, which may have fallen below the threshold, and for the one that waits longest.
        if self._starved.pop(endpoint_id, None) is not None:
            self._round.append(lane)
        if self._starved:
            self._round.append(self._starved.pop(next(iter(self._starved))))
        self._enter(lane)

    def _judge(self, lane: Lane[T], item: T, begun_ms: float, now_ms: float, answered: bool | None) -> None:
        """What an exchange means for the circuit."""
        if lane.circuit is None:
            lane.circuit = Circuit()
        circuit = lane.circuit
        if answered is None:
            changed = circuit.unsent(item, now_ms)
        elif answered:
            changed = circuit.answered()
        else:
            changed = circuit.failed(item, max(begun_ms, lane.answered_ms), now_ms, backlog=lane.is_behind(now_ms))
        if changed:
            self._changed(lane, circuit)

    def _changed(self, lane: Lane[T], circuit: Circuit[T]) -> None:
        if circuit.state == "closed":
            self._open.discard(lane.id)
            self.changes.append(Change(lane.id, "closed", circuit.since_ms, 0.0))
        else:
            self._open.add(lane.id)
            self.changes.append(Change(lane.id, circuit.state, circuit.since_ms, circuit.probe_at_ms))

    def forget_circuit(self, endpoint_id: str) -> None:
        """Take the circuit from the registry, which is newer after the partition was assigned elsewhere."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            lane.circuit = None
            self._enter(lane)
        self._open.discard(endpoint_id)

    def stalled(self, now_ms: float) -> list[tuple[T, LaneFull]]:
        """Take out the deliveries to endpoints that have slowed down, newest first, each with its new due time."""
        shed: list[tuple[T, LaneFull]] = []
        for lane in self._lanes.values():
            circuit = lane.circuit
            if circuit is not None and circuit.state != "closed":
                shed += self._shut_out(lane, circuit, now_ms)
                continue
            service = lane.service_ms(now_ms)
            if len(lane.queue) * service <= 2 * self._limits.max_wait_ms:
                continue
            enough = int(self._limits.max_wait_ms / service)
            keep = enough + 1 if lane.interval_ms else max(lane.limit, enough)  # with a rate, its next slot is taken
            while len(lane.queue) > keep:
                item = lane.queue.pop()
                self.waiting -= 1
                shed.append((item, self._full(lane, now_ms, service)))
        return shed

    def _shut_out(self, lane: Lane[T], circuit: Circuit[T], now_ms: float) -> list[tuple[T, LaneFull]]:
        """The deliveries that waited in a lane when its circuit opened."""
        out = [item for item in lane.queue if item not in circuit.passes]
        if out:
            lane.queue = deque(item for item in lane.queue if item in circuit.passes)
            self.waiting -= len(out)
        return [
            (item, LaneFull(round(max(circuit.put_off(now_ms), now_ms + MIN_DEFER_MS)), "circuit_open")) for item in out
        ]

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
        """Empty all queues (not requests in flight) and give back what waited."""
        left = [item for lane in self._lanes.values() for item in lane.queue]
        for lane in self._lanes.values():
            lane.queue.clear()
        self.waiting = 0
        return left

    def wake_at_ms(self) -> float | None:
        """When the next rate-limited lane may send; None: no lane waits for time."""
        return self._timed[0][0] if self._timed else None

    def _full(self, lane: Lane[T], now_ms: float, service_ms: float) -> LaneFull:
        if lane.interval_ms and service_ms <= lane.interval_ms:
            return LaneFull(round(max(lane.slot_ms(now_ms), now_ms + MIN_DEFER_MS)), "rate_limit")
        return LaneFull(round(lane.guess_ms(now_ms, service_ms)))

    def _lane(self, endpoint_id: str, cap: int, rate: float | None, epoch: int) -> Lane[T]:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            if len(self._lanes) >= _MAX_LANES:
                self._forget_idle()
            lane = self._lanes[endpoint_id] = Lane(endpoint_id, cap, epoch)
        if lane.cap != cap:
            lane.cap = cap
            lane.limit = min(lane.limit, cap)
        interval_ms = 1000 / rate if rate else 0.0
        if lane.interval_ms != interval_ms:
            self._repace(lane, interval_ms)
        if lane.epoch != epoch:
            lane.renew(epoch)
            self.forget_circuit(endpoint_id)
        return lane

    def _repace(self, lane: Lane[T], interval_ms: float) -> None:
        """The rate limit was changed: nothing waits for a time that followed from the old one."""
        lane.interval_ms = interval_ms
        lane.allowed_ms = max(0.0, lane.departed_ms + interval_ms) if interval_ms else 0.0
        lane.virtual_ms = 0.0
        if lane.timed_ms is not None:
            self._due(lane)

    def _due(self, lane: Lane[T]) -> None:
        lane.timed_ms = None
        self._round.append(lane)

    def _enter(self, lane: Lane[T]) -> None:
        if not lane.queued and lane.queue and len(lane.flying) < lane.limit:
            lane.queued = True
            self._round.append(lane)

    def _forget_idle(self) -> None:
        for lane in [each for each in self._lanes.values() if not each.queue and not each.flying and not each.queued]:
            del self._lanes[lane.id]
            self._open.discard(lane.id)
