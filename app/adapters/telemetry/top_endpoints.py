"""Metrics of single endpoints: a bounded number of them, chosen by traffic and failures, and all others as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from app.adapters.telemetry.metrics import PREFIX, Metric
from app.core.top_keys import TopKeys
from app.ports.clock import Clock

_LABELS = ("endpoint", "tenant", "mode")
ENDPOINT_METRICS: tuple[Metric, ...] = (
    Metric("endpoint_attempts_total", "counter", _LABELS, "HTTP requests to the endpoint."),
    Metric("endpoint_failures_total", "counter", _LABELS, "HTTP requests to the endpoint that got no 2xx."),
    Metric("endpoint_attempt_seconds_total", "counter", _LABELS, "Seconds that requests to the endpoint took."),
)
#: seconds for which the choice of endpoints stays, at least
REVIEW_S = 60.0
#: attempts that a failed one counts for in the choice
_FAILURE_WEIGHT = 10.0


class _Key(NamedTuple):
    endpoint: str
    tenant: str
    mode: str


_OTHER = _Key("other", "", "")


class TopEndpoints(Collector):
    """`app.ports.metrics.EndpointMeter`, and the collector of its counts for Prometheus.

    An endpoint that leaves the choice loses its series; if it comes back they begin at 0, as after a restart.
    """

    def __init__(self, number: int, clock: Clock) -> None:
        self._top: TopKeys[_Key] = TopKeys(number)
        self._clock = clock
        self._review_at_s = clock.monotonic() + REVIEW_S
        #: attempts, failures and seconds
        self._counts: dict[_Key, list[float]] = {_OTHER: [0.0, 0.0, 0.0]}

    def attempted(self, endpoint: str, tenant: str, mode: str, *, ok: bool, seconds: float) -> None:
        """See the port."""
        key = _Key(endpoint, tenant, mode)
        is_chosen = self._top.add(key, 1.0 if ok else _FAILURE_WEIGHT)
        counts = self._counts.setdefault(key, [0.0, 0.0, 0.0]) if is_chosen else self._counts[_OTHER]
        counts[0] += 1
        counts[1] += not ok
        counts[2] += seconds
        if self._clock.monotonic() >= self._review_at_s:
            self._review_at_s = self._clock.monotonic() + REVIEW_S
            for left in self._top.review():
                self._counts.pop(left, None)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The samples for an exposition by prometheus-client."""
        for number, metric in enumerate(ENDPOINT_METRICS):
            family = CounterMetricFamily(PREFIX + metric.name, metric.sentence, labels=metric.labels)
            for key, counts in self._counts.items():
                family.add_metric(key, counts[number])
            yield family
