"""What the read model holds, and the verbs with which roles write and ask it (SQL is one way to keep it).

Everything in it comes from topics and can be made again from them. It holds no payload: `source` says where in
events.raw an event is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from app.core.model.event import Mode
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.rows import (
    AttemptRow,
    AuditRow,
    DeadLetterGroup,
    DeliveryFilter,
    DeliveryPage,
    DeliveryRow,
    EventFilter,
    EventPage,
    HourRow,
    NoticeRow,
)


class ReadStore(Protocol):
    """Ask the read model. Raises `Unavailable` when it cannot be asked."""

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        """A page; costs the same however much there is. `ValueError`: the cursor is none of ours."""
        ...

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        """One delivery."""
        ...

    async def events(self, which: EventFilter, *, limit: int, cursor: str | None = None) -> EventPage:
        """A page of the index of events, on the same terms as `deliveries`."""
        ...

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        """Its attempts, oldest first."""
        ...

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        """How many there are; counting ends at `at_most`."""
        ...

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[HourRow]:
        """Counted as they came, oldest first; hours without anything are left out. Hours begin at full hours UTC."""
        ...

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadLetterGroup]:
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


class OffsetAdvance(NamedTuple):
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

    async def offsets(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        """The offset that is read next of each; 0 where nothing has been read."""
        ...

    async def write(self, portion: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]) -> bool:
        """Write all of it with the new offsets, or nothing.

        False: another process has moved one of the partitions (or a rebuild begins): read from its offset again.
        Raises `Defect` when the database does not take a value in it.
        """
        ...

    async def prune(self, before_ms: int, *, audit_before_ms: int, limit: int) -> int:
        """Remove events accepted before a time, then at most `limit` deliveries last changed before it with all that
        belongs to them, and entries of the audit log before another. The number of rows, `limit` if there may be more.
        """
        ...

    async def clear(self) -> None:
        """Remove everything, offsets too."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
