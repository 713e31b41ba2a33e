"""Bodies of /v1/stats."""

from __future__ import annotations

import msgspec


class LatencyOut(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds, estimated from a histogram; null without attempts."""

    p50: float | None
    p95: float | None
    p99: float | None


class HourOut(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one hour. Hours without deliveries are omitted."""

    begins_at: str
    attempts: int
    failed_attempts: int
    delivered: int
    dead: int
    cancelled: int
    latency_ms: LatencyOut


class StatsOut(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and latencies of a time range."""

    #: the full hour in which the span begins
    since: str
    until: str
    attempts: int
    failed_attempts: int
    #: attempts that succeeded, 0 to 1; null: there was none
    success_rate: float | None
    #: deliveries that ended, by how
    delivered: int
    dead: int
    cancelled: int
    #: delivered ones among those delivered or dead, 0 to 1; null: none ended
    delivery_success_rate: float | None
    latency_ms: LatencyOut
    hours: list[HourOut]
    #: the newest record that is counted; null: none was read yet
    as_of: str | None
