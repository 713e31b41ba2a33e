"""`app.ports.readmodel.ReadStore` in memory: a test puts rows into its lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from app.core.model.event import Mode
from app.core.model.event_types import includes
from app.core.model.timestamps import moment
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
    EventRow,
    FailedCounts,
    HourRow,
    LastFailure,
    NoticeRow,
    TenantTraffic,
    Traffic,
)
from app.core.records.audit import AuditEntry


class MemoryReads:
    """Rows as a test has put them."""

    def __init__(self) -> None:
        self.rows: list[DeliveryRow] = []
        self.index: list[EventRow] = []
        #: delivery → its attempts
        self.tries: dict[str, list[AttemptRow]] = {}
        #: (tenant, mode, endpoint or None) → its hours
        self.by_hour: dict[tuple[str, Mode, str | None], list[HourRow]] = {}
        self.told: list[NoticeRow] = []
        self.entries: list[AuditRow] = []
        #: how often deliveries were asked for
        self.asked = 0

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        self.asked += 1
        begin = _begin(cursor)
        found = sorted((each for each in self.rows if fits(which, each)), key=lambda each: -each.created_at_ms)
        more = len(found) > begin + limit
        return DeliveryPage(rows=found[begin : begin + limit], cursor=str(begin + limit) if more else None)

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        mine = (each for each in self.rows if (each.tenant, each.mode, each.id) == (tenant, mode, delivery_id))
        return next(mine, None)

    async def delivery_of_any_tenant(self, delivery_id: str) -> DeliveryRow | None:
        return next((each for each in self.rows if each.id == delivery_id), None)

    async def events(self, which: EventFilter, *, limit: int, cursor: str | None = None) -> EventPage:
        begin = _begin(cursor)
        found = [each for each in self.index if fits_event(which, each)]
        found.sort(key=lambda each: (each.at_ms, each.partition, each.offset), reverse=True)
        more = len(found) > begin + limit
        return EventPage(rows=found[begin : begin + limit], cursor=str(begin + limit) if more else None)

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        return self.tries.get(delivery_id, []) if await self.delivery(tenant, mode, delivery_id) else []

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        return min(at_most, sum(fits(which, each) for each in self.rows))

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[HourRow]:
        found = self.by_hour.get((tenant, mode, endpoint_id), [])
        return [each for each in found if since_ms <= each.begins_ms < until_ms]

    async def attempt_counts(
        self, tenant: str, mode: Mode, endpoint_ids: Collection[str], *, since_ms: int, until_ms: int
    ) -> Mapping[str, AttemptCounts]:
        counts: dict[str, AttemptCounts] = {}
        for endpoint_id in endpoint_ids:
            hours = await self.hours(tenant, mode, endpoint_id=endpoint_id, since_ms=since_ms, until_ms=until_ms)
            attempts, failed = sum(each.attempts for each in hours), sum(each.failed_attempts for each in hours)
            if attempts:
                counts[endpoint_id] = AttemptCounts(attempts=attempts, failed=failed)
        return counts

    async def traffic(self, *, since_ms: int, until_ms: int, busiest: int) -> Traffic:
        tenants = []
        for tenant, mode in {(tenant, mode) for tenant, mode, endpoint in self.by_hour if endpoint is None}:
            hours = await self.hours(tenant, mode, endpoint_id=None, since_ms=since_ms, until_ms=until_ms)
            names = ("attempts", "failed_attempts", "delivered", "dead")
            sums = {name: sum(getattr(each, name) for each in hours) for name in names}
            tenants.append(TenantTraffic(tenant=tenant, mode=mode, **sums))
        tenants.sort(key=lambda each: (-each.attempts, each.tenant, each.mode))
        return Traffic(
            since_ms=since_ms,
            tenants=len(tenants),
            attempts=sum(each.attempts for each in tenants),
            failed_attempts=sum(each.failed_attempts for each in tenants),
            delivered=sum(each.delivered for each in tenants),
            dead=sum(each.dead for each in tenants),
            busiest=tenants[:busiest],
        )

    async def without_success(self, *, since_ms: int, limit: int) -> Sequence[FailedCounts]:
        failed = []
        for (tenant, mode, endpoint), rows in self.by_hour.items():
            hours = [each for each in rows if each.begins_ms >= since_ms]
            attempts = sum(each.attempts for each in hours)
            if endpoint is not None and attempts and attempts == sum(each.failed_attempts for each in hours):
                failed.append(FailedCounts(tenant=tenant, mode=mode, endpoint_id=endpoint, attempts=attempts))
        return sorted(failed, key=lambda each: -each.attempts)[:limit]

    async def count_events(self, which: EventFilter, *, at_most: int) -> int:
        return min(at_most, sum(fits_event(which, each) for each in self.index))

    async def recent_types(self, tenant: str, mode: Mode, *, limit: int) -> Sequence[str]:
        mine = [each for each in self.index if (each.tenant, each.mode) == (tenant, mode) and each.result != "rejected"]
        latest = sorted(mine, key=lambda each: -each.at_ms)
        return list(dict.fromkeys(each.event_type for each in latest))[:limit]

    async def last_failures(self, endpoints: Collection[tuple[str, Mode, str]]) -> Mapping[str, LastFailure]:
        failures = {}
        for row in sorted(self.rows, key=lambda each: each.created_at_ms):
            if row.state in ("retrying", "dead") and (row.tenant, row.mode, row.endpoint_id) in endpoints:
                failures[row.endpoint_id] = LastFailure(
                    delivery_id=row.id,
                    at_ms=row.updated_at_ms,
                    status=row.status,
                    result=row.result,
                    reason=row.reason,
                )
        return failures

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadLetterGroup]:
        alike: dict[tuple[str, str, str, int | None], list[int]] = {}
        for each in self.rows:
            if (each.tenant, each.mode, each.state) == (tenant, mode, "dead") and each.updated_at_ms >= since_ms:
                name = (each.endpoint_id, each.reason or "", each.result or "", each.status)
                alike.setdefault(name, []).append(each.updated_at_ms)
        found = [
            DeadLetterGroup(
                endpoint_id=name[0],
                reason=name[1],
                result=name[2],
                status=name[3],
                count=len(times),
                first_ms=min(times),
                last_ms=max(times),
            )
            for name, times in alike.items()
        ]
        return sorted(found, key=lambda each: -each.count)[:limit]

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        mine = [each for each in self.told if (each.tenant, each.mode) == (tenant, mode)]
        return [each for each in mine if endpoint_id in (None, each.endpoint_id)][:limit]

    async def audit(self, tenant: str, mode: Mode, *, limit: int, before: int | None = None) -> Sequence[AuditRow]:
        mine = [each for each in self.entries if each.tenant == tenant and each.mode in (mode, "")]
        earlier = [each for each in mine if before is None or each.position < before]
        return sorted(earlier, key=lambda each: -each.position)[:limit]

    def audited(self, entry: AuditEntry) -> None:
        """What `projection` makes of a record of `audit`."""
        self.entries.append(
            AuditRow(
                position=len(self.entries),
                tenant=entry.tenant,
                mode=entry.mode,
                at_ms=moment(entry.at, 0),
                actor=entry.actor,
                action=entry.action,
                entity=entry.entity,
                version=entry.version,
                detail=entry.detail,
                before=entry.before,
                after=entry.after,
            )
        )

    async def updated_at_ms(self) -> int | None:
        return max((each.updated_at_ms for each in self.rows), default=None)


def _begin(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdigit():
        raise ValueError("the cursor is not one that a list has returned")
    return int(cursor)


def fits(which: DeliveryFilter, row: DeliveryRow) -> bool:
    """Whether a filter lets a row through."""
    exact = (
        (which.tenant, row.tenant),
        (which.mode, row.mode),
        (which.endpoint_id, row.endpoint_id),
        (which.event_id, row.event_id),
        (which.result, row.result),
        (which.replay_id, row.replay_id),
        (which.reason, row.reason),
    )
    if any(wanted is not None and wanted != has for wanted, has in exact):
        return False
    if which.event_type is not None and not includes(which.event_type, row.event_type):
        return False
    if which.states and row.state not in which.states:
        return False
    if which.status is not None and not (row.status and which.status[0] <= row.status <= which.status[1]):
        return False
    if which.any_id is not None and which.any_id not in (row.id, row.event_id):
        return False
    if which.changed_since_ms is not None and row.updated_at_ms < which.changed_since_ms:
        return False
    since, until = which.since_ms or 0, which.until_ms or 2**62
    return since <= row.created_at_ms < until


def fits_event(which: EventFilter, row: EventRow) -> bool:
    """Whether a filter lets a row of the index of events through."""
    exact = (
        (which.tenant, row.tenant),
        (which.mode, row.mode),
        (which.event_id, row.event_id),
        (which.result, row.result),
    )
    if any(wanted is not None and wanted != has for wanted, has in exact):
        return False
    if which.event_type is not None and not includes(which.event_type, row.event_type):
        return False
    if row.tenant in (which.tenants_except or ()) or row.event_type in (which.types_except or ()):
        return False
    return (which.since_ms or 0) <= row.at_ms < (which.until_ms or 2**62)
