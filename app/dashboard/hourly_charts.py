"""Statistics of the last hours, for tiles and charts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from app.core.errors import Unavailable
from app.core.readmodel.hourly_stats import LATENCY_BOUNDS_MS, quantile, summed
from app.core.readmodel.rows import AttemptCounts, HourRow
from app.dashboard.request import PageContext, PageRequest

HOUR_MS = 3_600_000


class DayChart(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of several hours."""

    attempts: int
    failed: int
    delivered: int
    dead: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    #: for the chart: seconds, attempts that succeeded, attempts that failed; one entry for each hour
    points: list[list[float]]


async def of_day(
    desk: PageContext, visit: PageRequest, endpoint_id: str | None = None, hours: int = 24
) -> DayChart | None:
    """Statistics of the last hours; None if the read model is unavailable."""
    begin_ms, end_ms = span(desk, hours)
    caller = visit.caller
    try:
        measured = await desk.api.reads.hours(
            caller.tenant, caller.mode, endpoint_id=endpoint_id, since_ms=begin_ms, until_ms=end_ms
        )
    except Unavailable:
        return None
    return summary(measured, begin_ms, hours)


async def of_endpoints(
    desk: PageContext, visit: PageRequest, endpoint_ids: Collection[str], hours: int = 24
) -> dict[str, AttemptCounts | None]:
    """Endpoint id → its attempts in the last hours; None if the read model is unavailable."""
    begin_ms, end_ms = span(desk, hours)
    caller = visit.caller
    try:
        counts = await desk.api.reads.attempt_counts(
            caller.tenant, caller.mode, endpoint_ids, since_ms=begin_ms, until_ms=end_ms
        )
    except Unavailable:
        return dict.fromkeys(endpoint_ids)
    return {each: counts.get(each, AttemptCounts(attempts=0, failed=0)) for each in endpoint_ids}


def span(desk: PageContext, hours: int) -> tuple[int, int]:
    """Begin and end of the last hours up to now, in milliseconds; the first of them is whole."""
    now_ms = desk.api.clock.now_ms()
    return now_ms // HOUR_MS * HOUR_MS - (hours - 1) * HOUR_MS, now_ms + 1


def summary(measured: Sequence[HourRow], begin_ms: int, hours: int) -> DayChart:
    """Hours without anything are filled in."""
    by_begin = {each.begins_ms: each for each in measured}
    begins = [begin_ms + number * HOUR_MS for number in range(hours)]
    rows = [by_begin.get(each, HourRow(begins_ms=each)) for each in begins]
    counts = summed([row.durations for row in rows], len(LATENCY_BOUNDS_MS) + 1)
    p50, p95, p99 = (quantile(counts, LATENCY_BOUNDS_MS, share) for share in (0.5, 0.95, 0.99))
    return DayChart(
        attempts=sum(row.attempts for row in rows),
        failed=sum(row.failed_attempts for row in rows),
        delivered=sum(row.delivered for row in rows),
        dead=sum(row.dead for row in rows),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        points=[
            [each / 1000 for each in begins],
            [row.attempts - row.failed_attempts for row in rows],
            [row.failed_attempts for row in rows],
        ],
    )


def as_json(day: DayChart) -> str:
    """For the page's script."""
    fields: dict[str, Any] = msgspec.to_builtins(day)
    return msgspec.json.encode(fields).decode()
