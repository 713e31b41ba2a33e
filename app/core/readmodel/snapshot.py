"""Where a delivery stands, out of everything that the log says of it, in whatever order it is read.

Rules of this file
- `deliveries`, `attempts` and `deliveries.dead` are read side by side, and again after a rebuild: the same facts in any
  order give the same standing. Each part of it is therefore a maximum: the fact with the highest rank decides.
- Delivered stays delivered. Otherwise the newest revision wins (copies of older ones may still wait in the ladder),
  then more attempts made, then the time of the record.
- A retry that comes back from its delay makes no delivery younger: `updated_at_ms` is left as it is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SnapshotState = Literal["pending", "retrying", "delivered", "dead", "cancelled", "paused"]
FactSource = Literal["delivery", "aside", "attempt"]

_KINDS: dict[FactSource, int] = {"delivery": 0, "aside": 1, "attempt": 2}
#: brokers' clocks may differ by that much: a delivery and its end may be written by two of them within a moment.
#: A resume that is faster than that shows with its first attempt
_SKEW_MS = 1000


class LastOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the last attempt ended, or why there was none."""

    status: int | None
    result: str
    error: str | None
    duration_ms: float | None
    next_attempt_at_ms: int | None = None


class DeliveryFact(msgspec.Struct, frozen=True, kw_only=True):
    """What one record says of one delivery."""

    id: str
    tenant: str
    mode: str
    endpoint_id: str
    event_id: str
    event_type: str
    accepted_at_ms: int
    replay_id: str | None
    sequence: int | None
    ordering_key: str | None
    source: tuple[int, int] | None
    arrival: int | None = None
    revision: int = 0

    #: the record's topic: deliveries, deliveries.dead, attempts
    kind: FactSource
    #: the record's timestamp
    at_ms: int
    state: SnapshotState
    #: attempts made by then
    attempts: int
    reason: str | None = None
    last: LastOutcome | None = None
    #: of a record of deliveries.dead that has the event's bytes: its offset
    dead_offset: int | None = None

    @property
    def rank(self) -> int:
        """Among facts with as many attempts the highest decides."""
        at_ms = self.at_ms - _SKEW_MS if self.kind == "delivery" else self.at_ms
        return at_ms * 4 + _KINDS[self.kind]

    @property
    def last_rank(self) -> int:
        """The same for `last`: what the attempt itself says goes before what is repeated of it."""
        return self.rank if self.kind == "attempt" else 0

    @property
    def is_news(self) -> bool:
        """Whether it makes the delivery a younger one: a retry that comes back from its delay does not."""
        return self.kind != "delivery" or self.attempts == 0


class DeliverySnapshot(msgspec.Struct, kw_only=True):
    """A delivery as it stands: a row of the read model, with what decides over later facts."""

    id: str
    tenant: str
    mode: str
    endpoint_id: str
    event_id: str
    event_type: str
    state: SnapshotState
    attempts: int
    created_at_ms: int
    updated_at_ms: int
    next_attempt_at_ms: int | None
    status: int | None
    result: str | None
    error: str | None
    duration_ms: float | None
    reason: str | None
    replay_id: str | None
    sequence: int | None
    ordering_key: str | None
    source_partition: int | None
    source_offset: int | None
    arrival: int | None
    revision: int
    #: of the fact that `state` and `reason` come from, with `revision`: the attempts made by then, and its rank
    stage: int
    rank: int
    #: of the fact that the last attempt's fields come from: its number, and its rank; -1: of none
    last_number: int = -1
    last_rank: int = -1
    #: where the endpoint's partition of deliveries.dead has the delivery last; None: nowhere
    dead_offset: int | None = None


def begun(fact: DeliveryFact) -> DeliverySnapshot:
    """The standing of a delivery of which nothing was known."""
    source_partition, source_offset = fact.source or (None, None)
    made = DeliverySnapshot(
        id=fact.id,
        tenant=fact.tenant,
        mode=fact.mode,
        endpoint_id=fact.endpoint_id,
        event_id=fact.event_id,
        event_type=fact.event_type,
        state=fact.state,
        attempts=fact.attempts,
        created_at_ms=fact.accepted_at_ms,
        updated_at_ms=fact.accepted_at_ms,
        next_attempt_at_ms=None,
        status=None,
        result=None,
        error=None,
        duration_ms=None,
        reason=fact.reason,
        replay_id=fact.replay_id,
        sequence=fact.sequence,
        ordering_key=fact.ordering_key,
        source_partition=source_partition,
        source_offset=source_offset,
        arrival=fact.arrival,
        revision=fact.revision,
        stage=fact.attempts,
        rank=fact.rank,
    )
    _more(made, fact)
    return made


def learn(standing: DeliverySnapshot, fact: DeliveryFact) -> bool:
    """Add a fact; whether something has changed."""
    changed = _more(standing, fact)
    mine = (standing.state == "delivered", standing.revision, standing.stage, standing.rank)
    if (fact.state == "delivered", fact.revision, fact.attempts, fact.rank) > mine:
        standing.state, standing.reason = fact.state, fact.reason
        standing.revision, standing.stage, standing.rank = fact.revision, fact.attempts, fact.rank
        changed = True
    if fact.attempts > standing.attempts:
        standing.attempts = fact.attempts
        changed = True
    return changed


def _more(standing: DeliverySnapshot, fact: DeliveryFact) -> bool:
    """What is a maximum of its own: the time, the last attempt, and coordinates that were not known."""
    changed = False
    if fact.is_news and fact.at_ms > standing.updated_at_ms:
        standing.updated_at_ms = fact.at_ms
        changed = True
    if fact.source is not None and standing.source_offset is None:
        standing.source_partition, standing.source_offset = fact.source
        changed = True
    if fact.arrival is not None and fact.arrival != standing.arrival and fact.is_news:
        standing.arrival = max(fact.arrival, standing.arrival or 0)
        changed = True
    if fact.dead_offset is not None and (standing.dead_offset is None or fact.dead_offset > standing.dead_offset):
        standing.dead_offset = fact.dead_offset
        changed = True
    last = fact.last
    if last is not None and (fact.attempts, fact.last_rank) > (standing.last_number, standing.last_rank):
        standing.last_number, standing.last_rank = fact.attempts, fact.last_rank
        standing.status, standing.result, standing.error = last.status, last.result, last.error
        standing.duration_ms, standing.next_attempt_at_ms = last.duration_ms, last.next_attempt_at_ms
        changed = True
    return changed
