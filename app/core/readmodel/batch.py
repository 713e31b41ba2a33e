"""What the records of one poll of the projected topics add to the read model.

Rules of this file
- Anyone with access to Kafka may have written a record. Values that a database would refuse (a NUL in a text, a number
  of twenty digits, a name of a megabyte) are repaired or make the record unreadable; they never stop the role.
- Statistics count the records of `attempts` alone, by their timestamps, so no worker's clock decides on the hour.
- A failed write is repeated with the same batch: `settle` does not modify its input, so it returns the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import NamedTuple, Protocol

import msgspec

from app.core.errors import Defect
from app.core.model.timestamps import BEGIN, moment
from app.core.readmodel.column_values import LARGEST, as_coordinates, as_name, as_number, as_text, without_nul
from app.core.readmodel.event_index import (
    EVENT_TOPICS,
    IndexedEvent,
    RawEventFormat,
    index_row,
    merged,
    was_in_events_raw,
)
from app.core.readmodel.hourly_stats import HourlyStats
from app.core.readmodel.snapshot import (
    DeliveryFact,
    DeliverySnapshot,
    FactSource,
    LastOutcome,
    SnapshotState,
    merge,
    new_snapshot,
)
from app.core.records import delivery as delivery_record
from app.core.records.attempt import DISCARDED, REASSIGNED, Attempt
from app.core.records.audit import AuditEntry
from app.core.records.record import ConsumedRecord
from app.core.topics.names import TopicName

#: the projected topics, in the order in which the records of one poll are processed
TOPICS = (
    TopicName.DELIVERIES,
    TopicName.ATTEMPTS,
    TopicName.DELIVERIES_DEAD,
    TopicName.NOTICES,
    TopicName.AUDIT,
    *EVENT_TOPICS,
)


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request; its coordinates in `attempts` are its key."""

    partition: int
    offset: int
    delivery_id: str
    number: int
    trigger: str
    state: str
    result: str
    started_at_ms: int
    duration_ms: float
    connect_ms: float
    first_byte_ms: float
    url: str
    status: int | None
    error: str | None
    next_attempt_at_ms: int | None
    response_headers: dict[str, str] | None
    response_body: str | None
    #: the record's timestamp
    at_ms: int


class ProjectedNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a record of `notices` that the read model stores."""

    id: str
    tenant: str
    kind: str
    mode: str = "live"
    at: str = ""
    endpoint_id: str | None = None
    summary: str = ""
    data: Mapping[str, object] = {}


class AuditLine(NamedTuple):
    """An entry of the audit log; its coordinates in `audit` are its key."""

    partition: int
    offset: int
    at_ms: int
    entry: AuditEntry


class CountedRequest(NamedTuple):
    """A request that statistics count."""

    fact: DeliveryFact
    #: partition of `attempts`
    part: int
    ok: bool
    duration_ms: float


class End(NamedTuple):
    """A record of `attempts` that ends a delivery and that statistics count; its coordinates are its key."""

    fact: DeliveryFact
    part: int
    offset: int
    #: whether a request was made, so that the record is a `RequestRow`, too
    requested: bool


class ProjectedSettlement(NamedTuple):
    """What one write changes in existing rows."""

    changed: list[DeliverySnapshot]
    tally: HourlyStats


class ProjectionBatch:
    """The records of one poll, which are written in one transaction."""

    def __init__(self, form: RawEventFormat | None = None) -> None:
        self._form = form or RawEventFormat()
        self.facts: list[DeliveryFact] = []
        self.lines: list[RequestRow] = []
        #: each with its time in milliseconds
        self.notices: list[tuple[ProjectedNotice, int]] = []
        self.audit: list[AuditLine] = []
        self.requests: list[CountedRequest] = []
        self.ends: list[End] = []
        self.indexed: list[IndexedEvent] = []
        self.unreadable = 0

    @property
    def events(self) -> list[IndexedEvent]:
        """Rows of the index of events, one for each key, in the order of the keys."""
        return merged(self.indexed)

    def take(self, topic: str, record: ConsumedRecord) -> None:
        """Add a record. One that cannot be decoded counts as unreadable."""
        try:
            if topic in EVENT_TOPICS:
                if was_in_events_raw(topic, record, self._form):
                    self.indexed.append(index_row(topic, record, self._form))
            else:
                _TAKERS[topic](self, record)
        except (Defect, ValueError, RecursionError, OverflowError):
            self.unreadable += 1

    def settle(self, current: Mapping[str, DeliverySnapshot]) -> ProjectedSettlement:
        """The changed delivery rows and the counts, given the current rows by id. Deterministic."""
        return ProjectedSettlement(self._changed(current), self._tally(current))

    def _changed(self, current: Mapping[str, DeliverySnapshot]) -> list[DeliverySnapshot]:
        snapshots: dict[str, DeliverySnapshot] = {}
        changed: dict[str, DeliverySnapshot] = {}
        for fact in self.facts:
            snapshot = snapshots.get(fact.id)
            if snapshot is None and fact.id in current:
                snapshot = snapshots[fact.id] = copy(current[fact.id])
            if snapshot is None:
                snapshots[fact.id] = changed[fact.id] = new_snapshot(fact)
            elif merge(snapshot, fact):
                changed[fact.id] = snapshot
        return list(changed.values())

    def _tally(self, current: Mapping[str, DeliverySnapshot]) -> HourlyStats:
        tally = HourlyStats()
        for fact, part, ok, duration_ms in self.requests:
            tally.attempt(fact.tenant, fact.mode, fact.endpoint_id, fact.at_ms, part, ok=ok, duration_ms=duration_ms)
        delivered = {id for id, snapshot in current.items() if snapshot.state == "delivered"}
        for fact, part, _, _ in self.ends:
            if fact.state != "delivered" or fact.id not in delivered:
                tally.end(fact.tenant, fact.mode, fact.endpoint_id, fact.at_ms, part, fact.state)
            if fact.state == "delivered":
                delivered.add(fact.id)
        return tally


def _take_delivery(portion: ProjectionBatch, record: ConsumedRecord) -> None:
    delivery, _ = delivery_record.decode(record.key, b"", record.headers)
    if delivery.manual == "cancel":
        return  # a request to cancel; its effect is a record of attempts
    state: SnapshotState = "retrying" if delivery.attempts else "pending"
    fact = _fact(delivery.id, delivery, record, kind="delivery", state=state, attempts=delivery.attempts)
    if delivery.deliver_at_ms is not None and delivery.manual is None:
        fact = msgspec.structs.replace(fact, deliver_at_ms=as_number(delivery.deliver_at_ms, LARGEST))
    portion.facts.append(fact)


def _take_dead(portion: ProjectionBatch, record: ConsumedRecord) -> None:
    delivery, _ = delivery_record.decode(record.key, b"", record.headers)
    named = dict(record.headers)
    reason = (named.get("reason") or b"unknown").decode()
    state: SnapshotState = "paused" if reason == "paused" else "dead"
    status = named.get("last-status")
    last = None
    if named.get("last-result") and state == "dead":
        last = LastOutcome(
            status=as_number(int(status), 999) if status else None,
            result=as_name(named["last-result"].decode()),
            error=as_text(named.get("last-error", b"").decode()) or None,
            duration_ms=None,
        )
    portion.facts.append(
        _fact(
            delivery.id,
            delivery,
            record,
            kind="aside",
            state=state,
            attempts=delivery.attempts,
            reason=as_name(reason),
            last=last,
            dead_offset=None if delivery.omitted else record.offset,
        )
    )


_attempts = msgspec.json.Decoder(Attempt)
_notices = msgspec.json.Decoder(ProjectedNotice)
_audit = msgspec.json.Decoder(AuditEntry)


def _take_attempt(portion: ProjectionBatch, record: ConsumedRecord) -> None:
    attempt = _attempts.decode(without_nul(record.value or b""))
    number = as_number(attempt.attempt, LARGEST)
    state, reason = _ending(attempt)
    next_ms = moment(attempt.next_attempt_at, 0) if attempt.next_attempt_at and state == "retrying" else None
    requested = attempt.made_a_request
    last = None
    if requested or (number == 0 and reason != DISCARDED):
        last = LastOutcome(
            status=None if attempt.status is None else as_number(attempt.status, 999),
            result=as_name(attempt.result),
            error=as_text(attempt.error) if attempt.error else None,
            next_attempt_at_ms=next_ms,
            duration_ms=attempt.duration_ms if requested else None,
        )
    # A reassigned attempt ranks below the record that the partition's owner writes for the same attempt.
    stage = max(0, number - 1) if reason == REASSIGNED else number
    fact = _fact(
        attempt.delivery_id, attempt, record, kind="attempt", state=state, attempts=stage, reason=reason, last=last
    )
    portion.facts.append(fact)
    if requested and last is not None:
        portion.lines.append(_line(attempt, record, state, last))
    if attempt.trigger != "test" and reason != DISCARDED:  # a discarded delivery has ended, as dead, before
        _count(portion, attempt, fact, record, requested=requested)


def _count(
    portion: ProjectionBatch, attempt: Attempt, fact: DeliveryFact, record: ConsumedRecord, *, requested: bool
) -> None:
    if requested:
        ok = attempt.state == "delivered"
        portion.requests.append(CountedRequest(fact, record.partition, ok, attempt.duration_ms))
    if fact.state in ("delivered", "dead", "cancelled"):
        portion.ends.append(End(fact, record.partition, record.offset, requested))


def _ending(attempt: Attempt) -> tuple[SnapshotState, str | None]:
    if attempt.state == "dead" and attempt.reason == "paused":
        return "paused", "paused"
    if attempt.state == "dead" and attempt.trigger == "test":
        return "cancelled", "test"  # a test is not a dead letter
    return attempt.state, as_name(attempt.reason) if attempt.reason else None


def _line(attempt: Attempt, record: ConsumedRecord, state: str, last: LastOutcome) -> RequestRow:
    return RequestRow(
        partition=record.partition,
        offset=record.offset,
        delivery_id=attempt.delivery_id,
        number=attempt.attempt,
        trigger=as_name(attempt.trigger),
        state=state,
        result=last.result,
        started_at_ms=moment(attempt.started_at, 0),
        duration_ms=attempt.duration_ms,
        connect_ms=attempt.connect_ms,
        first_byte_ms=attempt.first_byte_ms,
        url=as_text(attempt.url),
        status=last.status,
        error=last.error,
        next_attempt_at_ms=last.next_attempt_at_ms,
        response_headers=attempt.response_headers,
        response_body=attempt.response_body,
        at_ms=max(0, record.timestamp),
    )


def _take_notice(portion: ProjectionBatch, record: ConsumedRecord) -> None:
    notice = _notices.decode(without_nul(record.value or b""))
    for text in (notice.id, notice.tenant, notice.kind, notice.mode, notice.endpoint_id or ""):
        as_name(text)
    at_ms = moment(notice.at, BEGIN) if notice.at else record.timestamp
    portion.notices.append((notice, max(0, at_ms)))


def _take_audit(portion: ProjectionBatch, record: ConsumedRecord) -> None:
    entry = _audit.decode(without_nul(record.value or b""))
    for text in (entry.tenant, entry.actor, entry.action):
        as_name(text)
    portion.audit.append(AuditLine(record.partition, record.offset, max(0, record.timestamp), entry))


_TAKERS: dict[str, Callable[[ProjectionBatch, ConsumedRecord], None]] = {
    TopicName.DELIVERIES: _take_delivery,
    TopicName.DELIVERIES_DEAD: _take_dead,
    TopicName.ATTEMPTS: _take_attempt,
    TopicName.NOTICES: _take_notice,
    TopicName.AUDIT: _take_audit,
}


class _About(Protocol):
    """The fields that the headers of a delivery and a record of `attempts` have in common."""

    @property
    def event_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def endpoint_id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def created_at(self) -> str: ...
    @property
    def accepted_at_ms(self) -> int: ...
    @property
    def sequence(self) -> int | None: ...
    @property
    def ordering_key(self) -> str | None: ...
    @property
    def replay_id(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def arrival(self) -> int | None: ...
    @property
    def revision(self) -> int: ...


def _fact(
    delivery_id: str,
    about: _About,
    record: ConsumedRecord,
    *,
    kind: FactSource,
    state: SnapshotState,
    attempts: int,
    reason: str | None = None,
    last: LastOutcome | None = None,
    dead_offset: int | None = None,
) -> DeliveryFact:
    accepted_at_ms = about.accepted_at_ms or (moment(about.created_at, 0) if about.created_at else record.timestamp)
    return DeliveryFact(
        id=as_name(delivery_id),
        tenant=as_name(about.tenant),
        mode=as_name(about.mode),
        endpoint_id=as_name(about.endpoint_id),
        event_id=as_name(about.event_id),
        event_type=as_name(about.event_type),
        accepted_at_ms=as_number(max(0, accepted_at_ms), LARGEST),
        replay_id=as_name(about.replay_id or "") or None,
        sequence=None if about.sequence is None else as_number(about.sequence, LARGEST),
        ordering_key=as_text(about.ordering_key) if about.ordering_key is not None else None,
        source=as_coordinates(about.source),
        kind=kind,
        arrival=None if about.arrival is None else as_number(about.arrival, LARGEST),
        revision=as_number(about.revision, LARGEST),
        at_ms=max(0, record.timestamp),
        state=state,
        attempts=as_number(attempts, LARGEST),
        reason=reason,
        last=last,
        dead_offset=dead_offset,
    )
