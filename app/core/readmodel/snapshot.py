"""The current state of a delivery, folded from its records in any order.

Rules of this file
- `deliveries`, `attempts` and `deliveries.dead` are read independently, and again after a rebuild. The same facts give
  the same snapshot in any order, so each part of a snapshot is a maximum: the fact with the highest rank decides it.
- A delivered delivery stays delivered. Otherwise the newest revision wins (copies of older revisions may still wait in
  the delay ladder), then the higher number of attempts, then the later record.
- A retry that returns from its delay does not change `updated_at_ms`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SnapshotState = Literal["pending", "retrying", "delivered", "dead", "cancelled", "paused"]
FactSource = Literal["delivery", "aside", "attempt"]

_KINDS: dict[FactSource, int] = {"delivery": 0, "aside": 1, "attempt": 2}
#: largest difference between the clocks of two brokers: a delivery and its end may be written by two of them within a
#: moment. A resume that is faster than that becomes visible with its first attempt
_SKEW_MS = 1000


class LastOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the last attempt, or why there was none."""

    status: int | None
    result: str
    error: str | None
    duration_ms: float | None
    next_attempt_at_ms: int | None = None


class DeliveryFact(msgspec.Struct, frozen=True, kw_only=True):
    """What one record states about one delivery."""

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
    #: the event's `deliver_at`
    deliver_at_ms: int | None = None

    #: the record's topic: deliveries, deliveries.dead, attempts
    kind: FactSource
    #: the record's timestamp
    at_ms: int
    state: SnapshotState
    #: number of attempts made by then
    attempts: int
    reason: str | None = None
    last: LastOutcome | None = None
    #: offset of a record of deliveries.dead that has the event's bytes
    dead_offset: int | None = None

    @property
    def rank(self) -> int:
        """Among facts with the same number of attempts the highest rank decides."""
        at_ms = self.at_ms - _SKEW_MS if self.kind == "delivery" else self.at_ms
        return at_ms * 4 + _KINDS[self.kind]

    @property
    def last_rank(self) -> int:
        """The rank for `last`: the attempt's own record goes before a record that repeats its outcome."""
        return self.rank if self.kind == "attempt" else 0

    @property
    def is_recent(self) -> bool:
        """Whether it updates `updated_at_ms`: a retry that returns from its delay does not."""
        return self.kind != "delivery" or self.attempts == 0


class DeliverySnapshot(msgspec.Struct, kw_only=True):
    """The current state of a delivery: a row of the read model, with the ranks that later facts are compared with."""

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
    #: the number of attempts and the rank of the fact that `state`, `reason` and `revision` come from
    stage: int
    rank: int
    #: the number and the rank of the fact that the last attempt's fields come from; -1: there is none
    last_number: int = -1
    last_rank: int = -1
    #: offset of its latest record in the endpoint's partition of deliveries.dead; None: it has none
    dead_offset: int | None = None


def new_snapshot(fact: DeliveryFact) -> DeliverySnapshot:
    """The snapshot of a delivery from its first fact."""
    source_partition, source_offset = fact.source or (None, None)
    snapshot = DeliverySnapshot(
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
    _merge_details(snapshot, fact)
    return snapshot


def merge(snapshot: DeliverySnapshot, fact: DeliveryFact) -> bool:
    """Add a fact to a snapshot. True if that changed it."""
    changed = _merge_details(snapshot, fact)
    current = (snapshot.state == "delivered", snapshot.revision, snapshot.stage, snapshot.rank)
    if (fact.state == "delivered", fact.revision, fact.attempts, fact.rank) > current:
        snapshot.state, snapshot.reason = fact.state, fact.reason
        snapshot.revision, snapshot.stage, snapshot.rank = fact.revision, fact.attempts, fact.rank
        changed = True
    if fact.attempts > snapshot.attempts:
        snapshot.attempts = fact.attempts
        changed = True
    return changed


def _merge_details(snapshot: DeliverySnapshot, fact: DeliveryFact) -> bool:
    """Merge the parts that have maxima of their own: the time, the last attempt and the coordinates."""
    changed = False
    if fact.is_recent and fact.at_ms > snapshot.updated_at_ms:
        snapshot.updated_at_ms = fact.at_ms
        changed = True
    if fact.source is not None and snapshot.source_offset is None:
        snapshot.source_partition, snapshot.source_offset = fact.source
        changed = True
    if fact.arrival is not None and fact.arrival != snapshot.arrival and fact.is_recent:
        snapshot.arrival = max(fact.arrival, snapshot.arrival or 0)
        changed = True
    if fact.dead_offset is not None and (snapshot.dead_offset is None or fact.dead_offset > snapshot.dead_offset):
        snapshot.dead_offset = fact.dead_offset
        changed = True
    # Until there is an outcome, the next attempt is the first one.
    if fact.deliver_at_ms is not None and snapshot.last_number < 0 and fact.deliver_at_ms > _next_ms(snapshot):
        snapshot.next_attempt_at_ms = fact.deliver_at_ms
        changed = True
    last = fact.last
    if last is not None and (fact.attempts, fact.last_rank) > (snapshot.last_number, snapshot.last_rank):
        snapshot.last_number, snapshot.last_rank = fact.attempts, fact.last_rank
        snapshot.status, snapshot.result, snapshot.error = last.status, last.result, last.error
        snapshot.duration_ms, snapshot.next_attempt_at_ms = last.duration_ms, last.next_attempt_at_ms
        changed = True
    return changed


def _next_ms(snapshot: DeliverySnapshot) -> int:
    return -1 if snapshot.next_attempt_at_ms is None else snapshot.next_attempt_at_ms
