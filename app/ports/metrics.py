"""Counters, gauges and histograms."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Count and measure; never blocks, never raises. Names and labels are the table in
    adapters/telemetry/metrics.py."""

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation (seconds, bytes or a plain number) to a histogram."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def forget(self, name: str, **labels: str) -> None:
        """Remove the gauge with these labels until it is set again."""
        ...


class EndpointMeter(Protocol):
    """Count the attempts of single endpoints; never blocks, never raises. A bounded number of them have metrics."""

    def attempted(self, endpoint: str, tenant: str, mode: str, *, ok: bool, seconds: float) -> None:
        """Count a request to an endpoint, and how long it took."""
        ...
