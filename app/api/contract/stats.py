"""Bodies of /v1/stats."""

from __future__ import annotations

import msgspec


class LatencyOut(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, as good as a histogram tells; null: there was no attempt."""

    p50: float | None
    p95: float | None
    p99: float | None


class HourOut(msgspec.Struct, frozen=True, kw_only=True):
    """One hour; hours without anything are left out."""

    begins_at: str
    attempts: int
    failed_attempts: int
    delivered: int
    dead: int
    cancelled: int
    latency_ms: LatencyOut


class StatsOut(msgspec.Struct, frozen=True, kw_only=True):
    """How deliveries went."""

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
