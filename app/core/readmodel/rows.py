"""Rows and filters of the read model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from app.core.model.event import Mode

#: pending: no attempt yet; paused: parked until its endpoint is resumed
DeliveryState = Literal["pending", "retrying", "delivered", "dead", "cancelled", "paused"]


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """The current state of a delivery."""

    id: str
    tenant: str
    mode: Mode
    endpoint_id: str
    event_id: str
    event_type: str
    state: DeliveryState
    #: attempts made
    attempts: int
    #: when the event was accepted
    created_at_ms: int
    updated_at_ms: int
    next_attempt_at_ms: int | None = None
    #: of the last attempt: HTTP status, the outcome as a word, and in one sentence why it failed
    status: int | None = None
    result: str | None = None
    error: str | None = None
    duration_ms: float | None = None
    #: why it is dead or cancelled
    reason: str | None = None
    replay_id: str | None = None
    sequence: int | None = None
    ordering_key: str | None = None
    #: partition and offset of its event in events.raw; None: unknown
    source: tuple[int, int] | None = None
    #: offset of its arrival in deliveries.ordered; None: it is not ordered
    arrival: int | None = None
    #: offset of its latest record in its endpoint's partition of deliveries.dead; None: none, or unknown
    dead_offset: int | None = None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. A request that was repeated after a crash is a second attempt with the same number."""

    delivery_id: str
    number: int
    #: first | retry | replay | manual
    trigger: str
    state: str
    result: str
    started_at_ms: int
    duration_ms: float
    connect_ms: float = 0.0
    first_byte_ms: float = 0.0
    url: str = ""
    status: int | None = None
    error: str | None = None
    next_attempt_at_ms: int | None = None
    response_headers: Mapping[str, str] = {}
    response_body: str | None = None


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects deliveries of a tenant and mode. None or empty means any."""

    tenant: str
    mode: Mode
    endpoint_id: str | None = None
    event_id: str | None = None
    #: exact, or a prefix such as `recording.*`
    event_type: str | None = None
    states: tuple[DeliveryState, ...] = ()
    #: first and last HTTP status of a range, such as 400 to 499
    status: tuple[int, int] | None = None
    #: outcome of the last attempt: timeout, refused, http_5xx …
    result: str | None = None
    #: why it is dead or cancelled
    reason: str | None = None
    replay_id: str | None = None
    #: the id of a delivery or of an event
    any_id: str | None = None
    #: when the event was accepted
    since_ms: int | None = None
    until_ms: int | None = None
    #: when its state changed last
    changed_since_ms: int | None = None


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. May have fewer rows than the limit, even none, with a cursor: rare rows are searched in steps."""

    rows: Sequence[DeliveryRow]
    #: of the next page; None: this is the last one
    cursor: str | None = None


#: the outcome of a record of events.raw; unmatched: it is neither dropped nor delivered (or not yet)
EventResult = Literal["matched", "unmatched", "rejected", "duplicate"]


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record of events.raw. Texts are empty where the record could not be read."""

    partition: int
    offset: int
    #: the record's timestamp
    at_ms: int
    tenant: str
    mode: Mode | Literal[""]
    event_id: str
    event_type: str
    ordering_key: str | None = None
    result: EventResult
    #: of a rejected record: one word, and one sentence
    reason: str | None = None
    detail: str | None = None
    #: of a duplicate: partition, offset and time of the record that was accepted first
    first: tuple[int, int] | None = None
    first_ms: int | None = None


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects events; None means any. A tenant's requests always name tenant and mode, the operator's need not."""

    tenant: str | None = None
    mode: Mode | None = None
    event_id: str | None = None
    #: exact, or a prefix such as `recording.*`
    event_type: str | None = None
    result: EventResult | None = None
    #: the record's timestamp
    since_ms: int | None = None
    until_ms: int | None = None
    #: only events of other tenants than these
    tenants_except: frozenset[str] | None = None
    #: only events of other types than these
    types_except: frozenset[str] | None = None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. Like a `DeliveryPage` it may have fewer rows than the limit, with a cursor."""

    rows: Sequence[EventRow]
    #: of the next page; None: this is the last one
    cursor: str | None = None


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one endpoint, or of all endpoints of a tenant, in one hour."""

    begins_ms: int
    attempts: int = 0
    failed_attempts: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    #: attempts by duration: one count for each of LATENCY_BOUNDS_MS, and one for longer durations
    durations: Sequence[int] = ()


class AttemptCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts of one endpoint in some time, and how many of them failed."""

    attempts: int
    failed: int


class TenantTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one tenant and mode in some time."""

    tenant: str
    mode: Mode
    attempts: int
    failed_attempts: int
    delivered: int
    dead: int


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of all tenants in some time, and of those with most attempts."""

    #: the first hour that is counted; later than asked for where `is_complete` is False
    since_ms: int
    #: False: there were too many rows to count, and the oldest are left out
    is_complete: bool = True
    #: tenants with deliveries, each mode for itself
    tenants: int = 0
    attempts: int = 0
    failed_attempts: int = 0
    delivered: int = 0
    dead: int = 0
    busiest: Sequence[TenantTraffic] = ()


class FailedCounts(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint all of whose attempts failed in some time."""

    tenant: str
    mode: Mode
    endpoint_id: str
    attempts: int


class LastFailure(msgspec.Struct, frozen=True, kw_only=True):
    """How the newest of an endpoint's deliveries failed that now waits for a retry or is dead."""

    delivery_id: str
    #: when that state was reached
    at_ms: int
    #: of its last attempt; None: it had none
    status: int | None = None
    result: str | None = None
    #: why it is dead
    reason: str | None = None


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead deliveries with the same endpoint, reason and last outcome."""

    endpoint_id: str
    reason: str
    #: of the last attempt
    result: str
    status: int | None = None
    count: int
    first_ms: int
    last_ms: int


class NoticeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `notices`."""

    id: str
    tenant: str
    mode: Mode
    #: one of `core.notices.Kind`
    kind: str
    at_ms: int
    endpoint_id: str | None
    #: in one sentence
    summary: str
    #: the record's value
    data: Mapping[str, object]


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `audit`."""

    #: its position in the log: larger is later
    position: int
    tenant: str
    #: empty: it concerns both modes
    mode: Mode | Literal[""]
    at_ms: int
    actor: str
    action: str
    entity: str
    version: int = 0
    detail: str = ""
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
