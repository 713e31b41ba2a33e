"""The read model in memory: `app.ports.readmodel.ReadStore`, filled by a test."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence

import msgspec

from app.core.histogram import summed
from app.core.matching import includes
from app.core.model import Mode
from app.ports.readmodel import (
    LATENCY_BOUNDS_MS,
    AttemptRow,
    DeadGroup,
    DeliveryFilter,
    DeliveryPage,
    DeliveryRow,
    Hour,
    NoticeRow,
)


class MemoryReadStore:
    """Rows as a projection would have written them."""

    def __init__(self) -> None:
        self.rows: dict[str, DeliveryRow] = {}
        self.attempt_rows: list[AttemptRow] = []
        self.notice_rows: list[NoticeRow] = []
        #: (tenant, mode, endpoint) → its hours
        self.counted: dict[tuple[str, str, str], list[Hour]] = {}
        self.updated: int | None = None

    def put(self, row: DeliveryRow, *attempts: AttemptRow) -> DeliveryRow:
        """A delivery as it stands, and attempts of it."""
        self.rows[row.id] = row
        self.attempt_rows += attempts
        return row

    def put_hour(self, tenant: str, mode: Mode, endpoint_id: str, hour: Hour) -> None:
        """What was counted of an endpoint in one hour."""
        self.counted.setdefault((tenant, mode, endpoint_id), []).append(hour)

    async def deliveries(self, which: DeliveryFilter, *, limit: int, cursor: str | None = None) -> DeliveryPage:
        after = _place(cursor) if cursor is not None else None
        found = [row for row in self._matching(which) if after is None or _key(row) < after]
        rows = found[:limit]
        return DeliveryPage(rows=rows, cursor=_cursor(rows[-1]) if len(found) > limit else None)

    async def delivery(self, tenant: str, mode: Mode, delivery_id: str) -> DeliveryRow | None:
        row = self.rows.get(delivery_id)
        return row if row is not None and (row.tenant, row.mode) == (tenant, mode) else None

    async def attempts(self, tenant: str, mode: Mode, delivery_id: str) -> Sequence[AttemptRow]:
        if await self.delivery(tenant, mode, delivery_id) is None:
            return []
        mine = [each for each in self.attempt_rows if each.delivery_id == delivery_id]
        return sorted(mine, key=lambda each: (each.number, each.started_at_ms))

    async def count(self, which: DeliveryFilter, *, at_most: int) -> int:
        return min(at_most, len(self._matching(which)))

    async def hours(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, since_ms: int, until_ms: int
    ) -> Sequence[Hour]:
        sums: dict[int, Hour] = {}
        for (whose, world, endpoint), hours in self.counted.items():
            if (whose, world) != (tenant, mode) or endpoint_id not in (None, endpoint):
                continue
            for hour in hours:
                if since_ms <= hour.begins_ms < until_ms:
                    known = sums.get(hour.begins_ms)
                    sums[hour.begins_ms] = hour if known is None else _sum(known, hour)
        return [sums[begin] for begin in sorted(sums)]

    async def dead_groups(self, tenant: str, mode: Mode, *, since_ms: int, limit: int) -> Sequence[DeadGroup]:
        dead = [
            row
            for row in self.rows.values()
            if (row.tenant, row.mode, row.state) == (tenant, mode, "dead") and row.updated_at_ms >= since_ms
        ]
        counts = Counter((row.endpoint_id, row.reason or "", row.result or "") for row in dead)
        groups = []
        for (endpoint, reason, result), count in counts.most_common(limit):
            times = [
                row.updated_at_ms
                for row in dead
                if (row.endpoint_id, row.reason or "", row.result or "") == (endpoint, reason, result)
            ]
            groups.append(
                DeadGroup(
                    endpoint_id=endpoint, reason=reason, result=result, count=count, first_ms=min(times),
                    last_ms=max(times),
                )
            )  # fmt: skip
        return groups

    async def notices(
        self, tenant: str, mode: Mode, *, endpoint_id: str | None, limit: int, before_ms: int | None = None
    ) -> Sequence[NoticeRow]:
        mine = [
            each
            for each in self.notice_rows
            if (each.tenant, each.mode) == (tenant, mode)
            and endpoint_id in (None, each.endpoint_id)
            and (before_ms is None or each.at_ms < before_ms)
        ]
        return sorted(mine, key=lambda each: each.at_ms, reverse=True)[:limit]

    async def updated_at_ms(self) -> int | None:
        return self.updated

    def _matching(self, which: DeliveryFilter) -> list[DeliveryRow]:
        return sorted((row for row in self.rows.values() if _fits(row, which)), key=_key, reverse=True)


def _fits(row: DeliveryRow, which: DeliveryFilter) -> bool:
    exact = (
        (which.endpoint_id, row.endpoint_id), (which.event_id, row.event_id), (which.result, row.result),
        (which.replay_id, row.replay_id),
    )  # fmt: skip
    return (
        (row.tenant, row.mode) == (which.tenant, which.mode)
        and all(not wanted or wanted == is_ for wanted, is_ in exact)
        and (not which.event_type or includes(which.event_type, row.event_type))
        and (not which.states or row.state in which.states)
        and (which.status is None or (row.status is not None and which.status[0] <= row.status <= which.status[1]))
        and (not which.any_id or which.any_id in (row.id, row.event_id))
        and (which.since_ms is None or row.created_at_ms >= which.since_ms)
        and (which.until_ms is None or row.created_at_ms < which.until_ms)
    )


def _key(row: DeliveryRow) -> tuple[int, str]:
    return row.created_at_ms, row.id


def _cursor(row: DeliveryRow) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_key(row))).decode()


def _place(cursor: str) -> tuple[int, str]:
    try:
        return msgspec.json.decode(base64.b64decode(cursor, altchars=b"-_", validate=True), type=tuple[int, str])
    except msgspec.MsgspecError as error:
        raise ValueError(cursor) from error


def _sum(one: Hour, other: Hour) -> Hour:
    return Hour(
        begins_ms=one.begins_ms, attempts=one.attempts + other.attempts,
        failed_attempts=one.failed_attempts + other.failed_attempts, delivered=one.delivered + other.delivered,
        dead=one.dead + other.dead, cancelled=one.cancelled + other.cancelled,
        durations=summed([one.durations, other.durations], len(LATENCY_BOUNDS_MS) + 1),
    )  # fmt: skip
