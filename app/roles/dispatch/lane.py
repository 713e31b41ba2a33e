"""The lane of one endpoint: waiting deliveries, requests in flight, its pace, and when it could take one more."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Generic, TypeVar

from app.roles.dispatch.circuit import Circuit

T = TypeVar("T")

#: exchanges that an estimate is smoothed over: right after a failure the next few say little
_SMOOTHED = 32
#: no exchange counts as shorter
_SHORTEST_MS = 0.1
#: the pace assumed of a new endpoint
_FIRST_GUESS_MS = 20.0
#: an endpoint that is silent for that long says something about itself; less may be our own hiccup
_HANGS_MS = 1000
#: overflow is put off by at least the shortest rung
MIN_DEFER_MS = 1000
#: the pace of an endpoint without a rate limit is trusted for that long at least …
_MIN_REACH_MS = 5000
#: … and at most
_MAX_REACH_MS = 8 * 3_600_000
#: a deferred delivery is back this long after its due time, at the latest
_BACK_BY_MS = 5000
#: steps of this share, modulo 1, spread any number of points evenly
_GOLDEN = 0.618034


class Lane(Generic[T]):
    __slots__ = (
        "allowed_ms",
        "answered_ms",
        "behind",
        "behind_ms",
        "cap",
        "circuit",
        "departed_ms",
        "departure_ms",
        "epoch",
        "far_ms",
        "flying",
        "id",
        "interval_ms",
        "limit",
        "queue",
        "queued",
        "timed_ms",
        "trouble_ms",
        "turn",
        "virtual_ms",
    )

    def __init__(self, endpoint_id: str, cap: int, epoch: int) -> None:
        self.id = endpoint_id
        self.queue: deque[T] = deque()
        #: start times of requests in flight, oldest first
        self.flying: dict[T, float] = {}
        self.cap = cap
        self.limit = cap
        self.epoch = epoch
        #: None: no request was silent yet
        self.circuit: Circuit[T] | None = None
        #: when the endpoint answered last
        self.answered_ms = 0.0
        #: smoothed: an exchange's duration by the places that there were for it
        self.departure_ms = _FIRST_GUESS_MS / cap
        #: between two requests, where the endpoint has a rate limit; else 0
        self.interval_ms = 0.0
        #: not before that time (rate limit), and when the last request began that counts for it
        self.allowed_ms = 0.0
        self.departed_ms = -inf
        #: rate limit: the slot of the last refused delivery
        self.virtual_ms = 0.0
        #: no rate limit: how many were refused and have not become due since, at the time `behind_ms`
        self.behind = 0.0
        self.behind_ms = 0.0
        #: since when deliveries are refused without a break, and when the last of them is due
        self.trouble_ms = 0.0
        self.far_ms = 0.0
        #: where in the reach the last refused one went, from 0 to 1
        self.turn = 0.0
        #: in the round, or waiting to come back to it
        self.queued = False
        #: when it comes back to the round, if it waits for its rate
        self.timed_ms: float | None = None

    def silence_ms(self, now_ms: float) -> float:
        """How long requests in flight have been waiting for any answer of the endpoint."""
        return now_ms - max(self.answered_ms, next(iter(self.flying.values()))) if self.flying else 0.0

    def service_ms(self, now_ms: float) -> float:
        """Time between two departures at the pace it shows; its silence counts, while requests wait for an answer."""
        service = max(self.departure_ms, self.interval_ms)
        silence = self.silence_ms(now_ms)
        return max(service, silence / self.limit) if silence >= _HANGS_MS else service

    def is_behind(self, now_ms: float) -> bool:
        """Whether deliveries wait for it, here or in the ladder."""
        return bool(self.queue) or max(self.far_ms, self.virtual_ms) > now_ms

    def is_shut(self) -> bool:
        """Whether its circuit is open, and the first waiting delivery may not pass it."""
        circuit = self.circuit
        return circuit is not None and circuit.state != "closed" and self.queue[0] not in circuit.passes

    def ended(self, took_ms: float, *, answered: bool) -> None:
        """An exchange is over, with an answer or in silence."""
        self.departure_ms += (max(took_ms, _SHORTEST_MS) / self.limit - self.departure_ms) / _SMOOTHED
        self.limit = min(self.cap, self.limit + 1) if answered else max(1, self.limit // 2)

    def slot_ms(self, now_ms: float) -> float:
        """The next time that the rate limit has left."""
        begin_ms = max(now_ms, self.allowed_ms) + len(self.queue) * self.interval_ms
        self.virtual_ms = max(self.virtual_ms, begin_ms) + self.interval_ms
        return self.virtual_ms

    def guess_ms(self, now_ms: float, service_ms: float) -> float:
        """When the endpoint could take one more at its current pace, with jitter within the period of the estimate."""
        if now_ms > self.far_ms + _BACK_BY_MS:  # the deferred deliveries have returned and were taken
            self.trouble_ms = now_ms
        reach_ms = 2 * max(now_ms - self.trouble_ms, self.silence_ms(now_ms))
        reach_ms = min(_MAX_REACH_MS, max(_MIN_REACH_MS, reach_ms))
        behind = max(0.0, self.behind - (now_ms - self.behind_ms) / service_ms)
        self.behind, self.behind_ms = min(behind + 1, reach_ms / service_ms), now_ms
        self.turn = (self.turn + _GOLDEN) % 1
        ahead_ms = min((len(self.queue) + self.behind) * service_ms, reach_ms * (0.25 + 0.75 * self.turn))
        until_ms = now_ms + max(ahead_ms, MIN_DEFER_MS)
        self.far_ms = max(self.far_ms, until_ms)
        return until_ms

    def renew(self, epoch: int) -> None:
        """The endpoint was enabled, or has another URL: the observed pace no longer applies."""
        self.epoch = epoch
        self.limit, self.departure_ms = self.cap, _FIRST_GUESS_MS / self.cap
        self.behind = self.far_ms = 0.0
