"""The circuit breaker of one endpoint: closed, open, half-open.

Rules of this file
- Only silence opens a circuit: timeouts, refused and broken connections, names that do not resolve. An endpoint that
  answers, with whatever status, keeps its schedule.
- It opens when nothing was answered for a while, several requests in a row were silent, and others wait for them. An
  endpoint with little traffic therefore keeps its schedule, too.
- While it is open, one delivery at a time is the probe. The distance between probes is half of the silence so far,
  between `FIRST_PROBE_MS` and `LAST_PROBE_MS`. A probe is an ordinary attempt: it counts, and follows the schedule.
- Every other delivery is put off by the longest rung of the ladder that is not longer than the silence. So it is moved
  O(log of its wait) times up to the longest rung, once a rung from then on, and never handed down; and after a recovery
  the last one is back within as long as the silence has lasted, at most the longest rung.
- Deliveries of a burst come back `GAP_MS` apart: however many wait, they cost the worker a bounded rate.
- The first answer closes the circuit.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from app.core.model.http_exchange import HttpOutcome, HttpReply
from app.core.topics.names import RUNGS

T = TypeVar("T")

State = Literal["closed", "open", "half_open"]

#: silent requests in a row that open a circuit
SILENT_IN_A_ROW = 5
#: nothing was answered for that long by then
SILENT_FOR_MS = 10_000
#: so many silent requests in a row, one a second or more, count as a backlog: they end too fast for one to form
SILENT_MANY = 30
FIRST_PROBE_MS = 5_000
LAST_PROBE_MS = 300_000
#: between two deliveries of one endpoint that come back while its circuit is open
GAP_MS = 5
#: deliveries retried on request that may pass an open circuit at once
MAX_PASSES = 4
#: a deferral must still exceed its rung when it is written; otherwise a shorter rung is chosen
_SLACK_MS = 1_000
#: milliseconds of the rungs that deliveries are deferred by, longest first
_REACHES_MS = tuple(round(seconds * 1000) for _, seconds in reversed(RUNGS) if seconds * 1000 >= FIRST_PROBE_MS)
_SILENT = frozenset(("timeout", "refused", "reset", "tls", "dns", "connect", "protocol"))


def was_answered(outcome: HttpOutcome) -> bool | None:
    """Whether the receiver answered; None when the outcome says nothing about it."""
    if isinstance(outcome, HttpReply) or outcome.kind == "blocked_address":  # the egress guard answers at once
        return True
    return False if outcome.kind in _SILENT else None


class Change(msgspec.Struct, frozen=True):
    """A changed circuit. The failed probe of an open circuit counts as a change."""

    endpoint_id: str
    to: State
    #: the beginning of the silence
    since_ms: float
    #: when the next probe is due; 0: none is
    probe_at_ms: float


class Circuit(Generic[T]):
    """One endpoint's. `T` is a delivery; times are those of the lanes."""

    __slots__ = ("_appointed", "_far_ms", "_probe", "passes", "probe_at_ms", "silent", "since_ms", "state")

    def __init__(self) -> None:
        self.state: State = "closed"
        #: silent requests in a row
        self.silent = 0
        #: the beginning of the silence
        self.since_ms = 0.0
        self.probe_at_ms = 0.0
        #: waiting deliveries that may be sent although it is not closed
        self.passes: set[T] = set()
        self._probe: T | None = None
        #: a delivery was put off to the time of the next probe
        self._appointed = False
        #: when the delivery that was put off last comes back
        self._far_ms = 0.0

    def restored(self, since_ms: float, now_ms: float) -> None:
        """It was open in another worker, or in another assignment: the next delivery is the probe."""
        self.state, self.silent = "open", SILENT_IN_A_ROW
        self.since_ms = min(since_ms, now_ms)
        self.probe_at_ms = now_ms

    def admits(self, item: T, now_ms: float, *, urgent: bool) -> bool:
        """Whether a delivery may be sent although the circuit is not closed: as the probe, or as a manual retry."""
        if self.state == "open" and now_ms >= self.probe_at_ms:
            self.state, self._probe = "half_open", item
        elif not (urgent and len(self.passes) < MAX_PASSES):
            return False
        self.passes.add(item)
        return True

    def put_off(self, now_ms: float) -> float:
        """The time at which a deferred delivery returns."""
        if self.state == "open" and not self._appointed:
            self._appointed = True
            return self.probe_at_ms
        silence = now_ms - self.since_ms
        reach = next((each for each in _REACHES_MS if each <= silence), _REACHES_MS[-1])
        self._far_ms = max(self._far_ms + GAP_MS, now_ms + reach + _SLACK_MS)
        return self._far_ms

    def answered(self) -> bool:
        """A request was answered; whether that has closed it."""
        closes = self.state != "closed"
        self.state, self.silent, self._probe, self._appointed = "closed", 0, None, False
        self.passes.clear()
        return closes

    def failed(self, item: T, begun_ms: float, now_ms: float, *, backlog: bool) -> bool:
        """A request was silent, and the endpoint since `begun_ms`; whether that has opened it, or moved its probe."""
        if not self.silent:
            self.since_ms = begun_ms
        self.silent += 1
        if self.state == "closed":
            if not self._trips(now_ms, backlog):
                return False
            self._far_ms = 0.0
        elif item is not self._probe:
            return False
        self._await_probe(now_ms + min(LAST_PROBE_MS, max(FIRST_PROBE_MS, (now_ms - self.since_ms) / 2)))
        return True

    def unsent(self, item: T, now_ms: float) -> bool:
        """Nothing was sent after all; whether another delivery has to be the probe."""
        self.passes.discard(item)
        if item is not self._probe:
            return False
        self._await_probe(now_ms)
        return True

    def _trips(self, now_ms: float, backlog: bool) -> bool:
        silence = now_ms - self.since_ms
        if self.silent < SILENT_IN_A_ROW or silence < SILENT_FOR_MS:
            return False
        return backlog or (self.silent >= SILENT_MANY and silence <= self.silent * 1000)

    def _await_probe(self, at_ms: float) -> None:
        self.state, self._probe, self._appointed = "open", None, False
        self.probe_at_ms = at_ms
