"""The read model as callers see it: rows past their tenant's days, and what its hidden fields may be in, are left out.

The projection stores neither; here the same holds for rows that are not removed yet, and for those that were stored
before the tenant had the rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.adapters.sql.database import Database
from app.adapters.sql.read_store import SqlReadStore
from app.core.model.event import Mode
from app.core.readmodel.rows import (
    AttemptRow,
    DeadLetterGroup,
    DeliveryFilter,
    DeliveryPage,
    DeliveryRow,
    EventFilter,
    EventPage,
    EventRow,
    HourRow,
    NoticeRow,
)
from app.core.readmodel.tenant_rules import TenantRules


class TenantReadStore(SqlReadStore):
    """`app.ports.readmodel.ReadStore`, within the rules of tenants."""

    def __init__(self, database: Database, rules: TenantRules) -> None:
        super().__init__(database)
        self._rules = rules

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        """See `app.ports.readmodel.ReadStore`."""
        return await super().deliveries(self._changed_lately(which), limit=limit, cursor=cursor)

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        """See `app.ports.readmodel.ReadStore`."""
        return await super().count(self._changed_lately(which), at_most=at_most)

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        """See `app.ports.readmodel.ReadStore`."""
        return self._shown(await super().delivery(tenant, mode, delivery_id))

    async def delivery_of_any_tenant(self, delivery_id: str) -> DeliveryRow | None:
        """See `app.ports.readmodel.ReadStore`."""
        return self._shown(await super().delivery_of_any_tenant(delivery_id))

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        """See `app.ports.readmodel.ReadStore`."""
        from_ms = self._rules.shown_from_ms(tenant)
        rows = [row for row in await super().attempts(tenant, mode, delivery_id) if row.started_at_ms >= from_ms]
        if not self._rules.is_redacted(tenant):
            return rows
        return [msgspec.structs.replace(row, response_headers={}, response_body=None) for row in rows]

    async def events(self, which: EventFilter, *, limit: int, cursor: str | None = None) -> EventPage:
        """See `app.ports.readmodel.ReadStore`."""
        page = await super().events(self._accepted_lately(which), limit=limit, cursor=cursor)
        return EventPage(rows=[self._plain(row) for row in page.rows if self._is_recent(row)], cursor=page.cursor)

    async def count_events(self, which: EventFilter, *, at_most: int) -> int:
        """See `app.ports.readmodel.ReadStore`. A count over all tenants has rows that are about to be removed."""
        return await super().count_events(self._accepted_lately(which), at_most=at_most)

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[HourRow]:
        """See `app.ports.readmodel.ReadStore`."""
        since_ms = max(since_ms, self._rules.shown_from_ms(tenant))
        return await super().hours(tenant, mode, endpoint_id=endpoint_id, since_ms=since_ms, until_ms=until_ms)

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadLetterGroup]:
        """See `app.ports.readmodel.ReadStore`."""
        since_ms = max(since_ms, self._rules.shown_from_ms(tenant))
        return await super().dead_groups(tenant, mode, since_ms=since_ms, limit=limit)

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        """See `app.ports.readmodel.ReadStore`."""
        from_ms = self._rules.shown_from_ms(tenant)
        rows = await super().notices(tenant, mode, endpoint_id=endpoint_id, limit=limit, before_ms=before_ms)
        return [row for row in rows if row.at_ms >= from_ms]

    def _changed_lately(self, which: DeliveryFilter) -> DeliveryFilter:
        from_ms = self._rules.shown_from_ms(which.tenant)
        if from_ms <= (which.changed_since_ms or 0):
            return which
        return msgspec.structs.replace(which, changed_since_ms=from_ms)

    def _accepted_lately(self, which: EventFilter) -> EventFilter:
        from_ms = self._rules.shown_from_ms(which.tenant) if which.tenant is not None else 0
        if from_ms <= (which.since_ms or 0):
            return which
        return msgspec.structs.replace(which, since_ms=from_ms)

    def _shown(self, row: DeliveryRow | None) -> DeliveryRow | None:
        if row is None or row.updated_at_ms < self._rules.shown_from_ms(row.tenant):
            return None
        return row

    def _is_recent(self, row: EventRow) -> bool:
        return row.at_ms >= self._rules.shown_from_ms(row.tenant)

    def _plain(self, row: EventRow) -> EventRow:
        if row.detail is None or not self._rules.is_redacted(row.tenant):
            return row
        return msgspec.structs.replace(row, detail=None)
