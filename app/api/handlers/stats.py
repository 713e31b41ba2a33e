"""Hourly statistics of deliveries, for one endpoint or for all endpoints of a tenant and mode."""

from __future__ import annotations

from collections.abc import Sequence

from app.api.contract.stats import HourOut, LatencyOut, StatsOut
from app.api.handlers import delivery_filters
from app.api.handlers.webhooks import owned
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.model.timestamps import iso
from app.core.readmodel.hourly_stats import LATENCY_BOUNDS_MS, quantile, summed
from app.core.readmodel.rows import HourRow

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_LONGEST_MS = 92 * _DAY_MS


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Statistics of all endpoints of the tenant and mode."""
    return await _stats(api, call, None)


async def of_webhook(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Statistics of one endpoint."""
    return await _stats(api, call, owned(api, call).id)


async def _stats(api: ApiServices, call: ApiRequest, endpoint_id: str | None) -> ApiResponse:
    since_ms, until_ms = delivery_filters.span(api, call, default_ms=_DAY_MS, longest_ms=_LONGEST_MS)
    since_ms -= since_ms % _HOUR_MS  # hours are counted whole
    caller = call.caller
    hours = await api.reads.hours(
        caller.tenant, caller.mode, endpoint_id=endpoint_id, since_ms=since_ms, until_ms=until_ms
    )
    newest = await api.reads.updated_at_ms()
    return ApiResponse(body=summary(hours, since_ms, until_ms, newest))


def summary(hours: Sequence[HourRow], since_ms: int, until_ms: int, newest_ms: int | None) -> StatsOut:
    """The sums, and each hour."""
    attempts, failed = sum(each.attempts for each in hours), sum(each.failed_attempts for each in hours)
    delivered, dead = sum(each.delivered for each in hours), sum(each.dead for each in hours)
    return StatsOut(
        since=iso(since_ms),
        until=iso(until_ms),
        attempts=attempts,
        failed_attempts=failed,
        success_rate=_share(attempts - failed, attempts),
        delivered=delivered,
        dead=dead,
        cancelled=sum(each.cancelled for each in hours),
        delivery_success_rate=_share(delivered, delivered + dead),
        latency_ms=_latency([each.durations for each in hours]),
        hours=[_hour(each) for each in hours],
        as_of=iso(newest_ms) if newest_ms is not None else None,
    )


def _hour(hour: HourRow) -> HourOut:
    return HourOut(
        begins_at=iso(hour.begins_ms),
        attempts=hour.attempts,
        failed_attempts=hour.failed_attempts,
        delivered=hour.delivered,
        dead=hour.dead,
        cancelled=hour.cancelled,
        latency_ms=_latency([hour.durations]),
    )


def _latency(durations: Sequence[Sequence[int]]) -> LatencyOut:
    counts = summed(durations, len(LATENCY_BOUNDS_MS) + 1)
    p50, p95, p99 = (quantile(counts, LATENCY_BOUNDS_MS, share) for share in (0.5, 0.95, 0.99))
    return LatencyOut(p50=_rounded(p50), p95=_rounded(p95), p99=_rounded(p99))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
