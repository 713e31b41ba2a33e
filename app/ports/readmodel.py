"""The stores that write and read the read model.

The read model is derived from topics and can be rebuilt from them. It holds no payloads: `source` has the coordinates
of an event in events.raw.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from app.core.model.event import Mode
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.rows import (
    AttemptCounts,
    AttemptRow,
    AuditRow,
    DeadLetterGroup,
    DeliveryFilter,
    DeliveryPage,
    DeliveryRow,
    EventFilter,
    EventPage,
    FailedCounts,
    HourRow,
    LastFailure,
    NoticeRow,
    Traffic,
)


class ReadStore(Protocol):
    """Reads the read model. All methods raise `Unavailable`."""

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        """A page, at a cost that does not depend on the number of rows. Raises `ValueError` for an invalid cursor."""
        ...

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        """One delivery; None if the tenant and mode do not have it."""
        ...

    async def delivery_of_any_tenant(self, delivery_id: str) -> DeliveryRow | None:
        """The delivery of an id, whosever it is: for the operator alone."""
        ...

    async def events(self, which: EventFilter, *, limit: int, cursor: str | None = None) -> EventPage:
        """A page of the index of events, on the same terms as `deliveries`."""
        ...

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        """The attempts of a delivery, oldest first."""
        ...

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        """The number of matching deliveries, up to `at_most`."""
        ...

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[HourRow]:
        """Counts per hour (UTC), oldest first. Hours without counts are left out."""
        ...

    async def attempt_counts(
        self, tenant: str, mode: Mode, endpoint_ids: Collection[str], *, since_ms: int, until_ms: int
    ) -> Mapping[str, AttemptCounts]:
        """Endpoint id → its counts in the hours that begin in that time. Endpoints without attempts are left out."""
        ...

    async def traffic(self, *, since_ms: int, until_ms: int, busiest: int) -> Traffic:
        """The counts of all tenants in the hours that begin in that time, and of the `busiest` with most attempts.

        For the operator alone. Of too many rows only those of the latest hours are counted; see `Traffic.is_complete`.
        """
        ...

    async def without_success(self, *, since_ms: int, limit: int) -> Sequence[FailedCounts]:
        """The endpoints of all tenants whose attempts in the hours that begin from then on all failed, most first.

        For the operator alone. Of too many rows only those of the latest hours are counted.
        """
        ...

    async def count_events(self, which: EventFilter, *, at_most: int) -> int:
        """The number of matching events, up to `at_most`."""
        ...

    async def recent_types(self, tenant: str, mode: Mode, *, limit: int) -> Sequence[str]:
        """The types of the latest 2,000 events that were not rejected, the type of the latest first."""
        ...

    async def last_failures(self, endpoints: Collection[tuple[str, Mode, str]]) -> Mapping[str, LastFailure]:
        """The last failures of endpoints, named by tenant, mode and id. The result has endpoint ids as keys."""
        ...

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadLetterGroup]:
        """Dead deliveries grouped by endpoint, reason and last outcome, the largest group first."""
        ...

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        """Notices of an endpoint or of the tenant, newest first."""
        ...

    async def audit(self, tenant: str, mode: Mode, *, limit: int, before: int | None = None) -> Sequence[AuditRow]:
        """Audit entries of a tenant in a mode, and of the tenant itself, newest first; `before` is a position."""
        ...

    async def updated_at_ms(self) -> int | None:
        """The time of the newest record that has been read, in milliseconds; None if there is none."""
        ...


class OffsetAdvance(NamedTuple):
    """How far a batch reads a partition."""

    #: the first offset of the batch, which the database must have as the next one
    begin: int
    next: int
    #: the time of the newest record in milliseconds; 0: only transaction markers were read
    newest_ms: int


class ProjectionStore(Protocol):
    """Writes the read model. All methods raise `Unavailable` with the reason; then nothing was written.

    Partitions are named with the logical names of topics.
    """

    async def prepare(self) -> None:
        """Create or migrate the tables."""
        ...

    async def offsets(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        """The next offset of each partition; 0 where nothing has been read."""
        ...

    async def write(self, portion: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]) -> bool:
        """Write the batch and the new offsets, or nothing.

        Returns False if another process has advanced one of the partitions, or a rebuild has begun: the caller reloads
        the offsets. Raises `Defect` when the database refuses a value.
        """
        ...

    async def prune(self, before_ms: int, *, audit_before_ms: int, limit: int) -> int:
        """Remove old rows: events accepted before `before_ms`; then at most `limit` deliveries last changed before it,
        with their attempts; and audit entries before `audit_before_ms`. Returns the number of rows removed, `limit` if
        there may be more.
        """
        ...

    async def deleted_tenants(self) -> Sequence[tuple[str, int]]:
        """The tenants whose deletion the audit log has, with its time in milliseconds."""
        ...

    async def remove_tenant(self, tenant: str, until_ms: int, *, limit: int) -> int:
        """Remove at most `limit` rows of a tenant that are not younger than `until_ms`, with attempts and without audit
        entries. Returns the number of rows removed, `limit` if there may be more.
        """
        ...

    async def remove_old(self, tenant: str, before_ms: int, *, limit: int) -> int:
        """Remove at most `limit` rows of a tenant that are older than `before_ms`: events, deliveries that have not
        changed since then, attempts, notices and statistics, without audit entries. Returns the number of rows removed,
        `limit` if there may be more.
        """
        ...

    async def clear(self) -> None:
        """Remove all rows and offsets."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
