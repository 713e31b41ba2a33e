"""What the read model holds, and the verbs with which roles write and ask it (SQL is one way to keep it).

Everything in it comes from topics and can be made again from them. It holds no payload: `source` says where in
events.raw an event is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from app.core.model import Mode
from app.core.partitions import Place
from app.core.projecting import Portion
from app.core.tally import LATENCY_BOUNDS_MS as LATENCY_BOUNDS_MS  # part of what `Hour` means

#: pending: no attempt yet; paused: put aside until its endpoint's resume
DeliveryState = Literal["pending", "retrying", "delivered", "dead", "cancelled", "paused"]


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as it stands."""

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
    #: of the last attempt: HTTP status, the outcome as a closed word, and why it failed in one sentence
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
    #: the offset of its arrival in deliveries.ordered; None: it was not ordered
    arrival: int | None = None
    #: the offset of its latest record in its endpoint's partition of deliveries.dead; None: none, or not known
    dead_offset: int | None = None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt; what was sent again after a crash is there twice, with one number."""

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
    """Which deliveries; what is None or empty does not matter. Tenant and mode always do."""

    tenant: str
    mode: Mode
    endpoint_id: str | None = None
    event_id: str | None = None
    #: exact, or a prefix such as `recording.*`
    event_type: str | None = None
    states: tuple[DeliveryState, ...] = ()
    #: a status, or the class of `4xx`, as the first and last one of a span
    status: tuple[int, int] | None = None
    #: outcome of the last attempt: timeout, refused, http_5xx …
    result: str | None = None
    #: why it is dead or cancelled
    reason: str | None = None
    replay_id: str | None = None
    #: an id of a delivery or an event, whole
    any_id: str | None = None
    #: when the event was accepted
    since_ms: int | None = None
    until_ms: int | None = None
    #: when it became what it is
    changed_since_ms: int | None = None


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. It may have fewer rows than asked for, even none, with a cursor: rare rows are found in steps."""

    rows: Sequence[DeliveryRow]
    #: give it to get the next page; None: this is the last one
    cursor: str | None = None


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint (or, summed, a tenant) had in one hour."""

    begins_ms: int
    attempts: int = 0
    failed_attempts: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    #: attempts by duration: how many took at most each of LATENCY_BOUNDS_MS, and one more for all that took longer
    durations: Sequence[int] = ()


class DeadGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead deliveries that have the reason and the endpoint in common."""

    endpoint_id: str
    reason: str
    result: str
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

    #: its place in the log: larger is later
    position: int
    tenant: str
    #: empty: it is about both modes
    mode: Mode | Literal[""]
    at_ms: int
    actor: str
    action: str
    entity: str
    version: int = 0
    detail: str = ""
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None


class ReadStore(Protocol):
    """Ask the read model. Raises `Unavailable` when it cannot be asked."""

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        """A page; costs the same however much there is. `ValueError`: the cursor is none of ours."""
        ...

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        """One delivery."""
        ...

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        """Its attempts, oldest first."""
        ...

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        """How many there are; counting ends at `at_most`."""
        ...

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[Hour]:
        """Counted as they came, oldest first; hours without anything are left out. Hours begin at full hours UTC."""
        ...

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadGroup]:
        """Dead deliveries by endpoint, reason and last outcome, the largest first."""
        ...

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        """Newest first."""
        ...

    async def audit(self, tenant: str, mode: Mode, *, limit: int, before: int | None = None) -> Sequence[AuditRow]:
        """What was done in a tenant and mode, and to the tenant itself, the latest first; `before`: a position."""
        ...

    async def updated_at_ms(self) -> int | None:
        """The time of the newest record in it; None: it is empty."""
        ...


class Moved(NamedTuple):
    """How far a partition is read by a portion."""

    #: the offset that was read first, as the database has it
    begin: int
    next: int
    #: the time of the newest record, milliseconds since the epoch; 0: no record, only markers of transactions
    newest_ms: int


class ProjectionStore(Protocol):
    """Write the read model. All raise `Unavailable` with the reason: nothing is written then, and may be tried again.

    Places are logical topic names and partitions.
    """

    async def prepare(self) -> None:
        """Create what is not there and migrate what is older."""
        ...

    async def offsets(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The offset that is read next of each; 0 where nothing has been read."""
        ...

    async def write(self, portion: Portion, moved: Mapping[Place, Moved]) -> bool:
        """Write all of it with the new offsets, or nothing.

        False: another process has moved one of the partitions (or a rebuild begins): read from its offset again.
        Raises `Defect` when the database does not take a value in it.
        """
        ...

    async def prune(self, before_ms: int, *, audit_before_ms: int, limit: int) -> int:
        """Remove at most `limit` deliveries with all that belongs to them, last changed before a time, and entries of
        the audit log before another; the number of deliveries.
        """
        ...

    async def clear(self) -> None:
        """Remove everything, offsets too."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
