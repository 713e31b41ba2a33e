"""The table of all metrics, and `app.ports.metrics.Meter` on prometheus-client. docs/metrics.md is generated from it.

The values of labels come from closed sets; endpoint ids and tenants are never labels here (see top_endpoints.py).
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from app.adapters.telemetry.histograms import Histogram, HistogramFamily
from app.core.errors import Defect

PREFIX = "hookstream_"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0)
_REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 75.0)
_ATTEMPTS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
_COUNTS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 1000)


class Metric(NamedTuple):
    """One line of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    sentence: str
    buckets: tuple[float, ...] = _SECONDS


METRICS: tuple[Metric, ...] = (
    Metric(
        "build_info",
        "gauge",
        ("version", "python", "faust", "aiokafka"),
        "Always 1; the labels name the running versions.",
    ),
    Metric("events_ingested_total", "counter", ("result",), "Records of events.raw: accepted, duplicate or invalid."),
    Metric("events_rejected_total", "counter", ("reason",), "Records that could not be parsed as events, by reason."),
    Metric(
        "input_records_total",
        "counter",
        ("input", "result"),
        "Records of the topics that inputs read: event, rejected or skipped.",
    ),
    Metric(
        "records_unreadable_total",
        "counter",
        ("topic",),
        "Records in Hookstream's own topics that could not be decoded and were skipped.",
    ),
    Metric(
        "schema_warnings_total",
        "counter",
        (),
        "Events that violate their type's schema, or could not be validated, and were delivered.",
    ),
    Metric(
        "deliveries_filtered_total",
        "counter",
        (),
        "Deliveries that fan-out did not make because the endpoint's filter refuses the event.",
    ),
    Metric(
        "event_fanout_endpoints",
        "histogram",
        (),
        "Endpoints per accepted event, averaged over a slice.",
        _COUNTS,
    ),
    Metric("deliveries_total", "counter", ("outcome",), "Deliveries that ended: delivered, dead or cancelled."),
    Metric(
        "healthy_endpoint_deliveries_total",
        "counter",
        ("outcome",),
        "Deliveries that ended as delivered or dead while their endpoint was healthy: not failing for ten minutes, its "
        "circuit closed.",
    ),
    Metric(
        "attempts_total",
        "counter",
        ("result", "attempt"),
        "HTTP requests by outcome and reason: first, retry, replay (its first attempt), or manual (on request).",
    ),
    Metric(
        "attempt_duration_seconds",
        "histogram",
        ("phase",),
        "Duration of HTTP requests: connect (DNS, TCP and TLS, where no connection was reused), first_byte (request "
        "sent to status line) and total.",
    ),
    Metric(
        "first_attempt_delay_seconds",
        "histogram",
        (),
        "Append of the event to the start of its first attempt. Deliveries that had to wait are left out: ordered, "
        "deferred, parked, replayed or retried ones.",
    ),
    Metric(
        "delivery_latency_seconds",
        "histogram",
        ("attempt",),
        "Append of the event, or its later deliver_at, to 2xx; first = first attempt.",
    ),
    Metric(
        "delivery_attempts_per_success",
        "histogram",
        (),
        "Attempts of a delivered delivery, including the one with 2xx.",
        _ATTEMPTS,
    ),
    Metric("retry_scheduled_total", "counter", ("rung",), "Retries scheduled, by rung."),
    Metric(
        "retry_lateness_seconds", "histogram", ("rung",), "Time between a retry's due time and its release, by rung."
    ),
    Metric("retry_backlog", "gauge", ("rung",), "Records waiting, by rung."),
    Metric(
        "retry_oldest_due_age_seconds",
        "gauge",
        ("rung",),
        "Age of the oldest overdue retry in memory; 0 if there is none.",
    ),
    Metric("deliveries_deferred_total", "counter", ("reason",), "Deliveries deferred without an attempt, by reason."),
    Metric(
        "attempts_reassigned_total",
        "counter",
        (),
        "Failed attempts whose partition was reassigned meanwhile; they schedule no retry.",
    ),
    Metric(
        "ordered_copies_skipped_total",
        "counter",
        (),
        "Copies of ordered deliveries that were skipped, because a later release proves them settled.",
    ),
    Metric(
        "deliveries_superseded_total",
        "counter",
        (),
        "Waiting copies that were skipped, because their delivery was retried or cancelled on request.",
    ),
    Metric("dead_letters_total", "counter", ("reason",), "Records written to deliveries.dead, by reason."),
    Metric(
        "projection_age_seconds", "histogram", (), "Age of the oldest record in each transaction of the read model."
    ),
    Metric("attempts_in_flight", "gauge", (), "HTTP requests in flight."),
    Metric("attempts_in_flight_limit", "gauge", (), "Limit of HTTP requests in flight."),
    Metric("lane_deliveries", "gauge", (), "Deliveries waiting in lanes."),
    Metric("circuits_open", "gauge", (), "Endpoints whose circuit is open or half-open, in this process."),
    Metric(
        "circuit_transitions_total",
        "counter",
        ("to",),
        "Circuits that became open (again, after a failed probe), half_open or closed.",
    ),
    Metric("endpoints", "gauge", ("state",), "Endpoints in the directory, by status."),
    Metric("replays", "gauge", ("state",), "Replays that have not ended: pending, running or paused."),
    Metric(
        "registry_commands_total", "counter", ("result",), "Commands to the registry, by result: ok, or the error code."
    ),
    Metric(
        "endpoint_health_changes_total",
        "counter",
        ("change",),
        "Changes of endpoints' health: failing, disabled or cleared.",
    ),
    Metric("notices_total", "counter", ("kind",), "Notices written, by kind; a crash may count some twice."),
    Metric("notices_waiting", "gauge", (), "Notices waiting for their e-mail."),
    Metric(
        "emails_total", "counter", ("result",), "E-mails by result: sent, refused, later (to be retried) or given_up."
    ),
    Metric("consumer_lag_records", "gauge", ("group", "topic"), "Committed records that a group has not processed."),
    Metric(
        "consumer_lag_seconds", "gauge", ("group", "topic"), "Age of the oldest record that a group has not processed."
    ),
    Metric(
        "committed_offsets_total",
        "counter",
        ("group", "topic"),
        "How far the group's commits have moved, in offsets of all partitions; every sampling process counts them.",
    ),
    Metric("kafka_up", "gauge", (), "1 while Kafka answers, else 0; lag is absent then."),
    Metric(
        "dependency_up",
        "gauge",
        ("dependency",),
        "1 while the dependency answers: kafka, database, database_reads, mail_server, dns, egress_proxy, "
        "schema_registry.",
    ),
    Metric(
        "logs_moved_total", "counter", ("role", "kind"), "Partitions whose log lost records or was recreated, by kind."
    ),
    Metric("rebalances_total", "counter", ("role",), "Assignments of partitions to the role in this process."),
    Metric("partitions_assigned", "gauge", ("role",), "Partitions that this process's member of the group owns."),
    Metric(
        "role_settling",
        "gauge",
        ("role",),
        "1 while the role starts, joins its group or recovers its tables, else 0.",
    ),
    Metric(
        "table_recovery_records",
        "gauge",
        ("role",),
        "Records of changelogs that the role still has to read before its tables are recovered; 0 without recovery.",
    ),
    Metric(
        "ready",
        "gauge",
        ("check",),
        "1 while the check of /readyz passes, else 0: a role, or kafka, topics or directory.",
    ),
    Metric("role_restarts_total", "counter", ("role",), "Restarts of roles after a failure."),
    Metric("watchdog_verdicts_total", "counter", ("role", "verdict"), "Roles that a watchdog judged suspect or stuck."),
    Metric("producer_errors_total", "counter", ("topic", "error"), "Appends that had to be retried."),
    Metric(
        "api_connections_closed_total",
        "counter",
        ("reason",),
        "Connections closed by the listener, by reason: head_timeout, idle, unread, displaced, refused or exhausted.",
    ),
    Metric("hindrances_total", "counter", ("cause",), "Attempts prevented by this machine, by the resource it lacked."),
    Metric("dns_lookups_total", "counter", ("result",), "DNS lookups of endpoints' names, by result."),
    Metric("dns_lookup_seconds", "histogram", ("result",), "Duration of those lookups, without waiting for a place."),
    Metric("records_reduced_total", "counter", ("topic",), "Records that a topic accepted only in a reduced form."),
    Metric(
        "http_server_request_duration_seconds",
        "histogram",
        ("route", "method", "code"),
        "Duration of requests to the API and the dashboard, by the route's template; event streams are left out.",
        _REQUEST_SECONDS,
    ),
    Metric("event_loop_lag_seconds", "gauge", (), "Delay of the event loop at its last check."),
)

#: metrics of the process by prometheus-client, with fixed names without the prefix
PROCESS_METRICS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)


class PrometheusMeter:
    """Counts into a registry of its own; a name or label that is not in the table is a `Defect`.

    Counts are collected in a dictionary until Prometheus scrapes, because a lock for each count would cost a delivery
    more than its signature.
    """

    def __init__(self, more: Collector | None = None) -> None:
        """`more` adds samples to each exposition."""
        self.registry = CollectorRegistry()
        if more is not None:
            self.registry.register(more)
        ProcessCollector(registry=self.registry)
        self._families = {metric.name: _family(metric, self.registry) for metric in METRICS}
        self._children: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}
        self._counted: dict[tuple[str, ...], float] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        self.gauge(
            "build_info",
            1,
            version=version("hookstream"),
            python=platform.python_version(),
            faust=version("faust-streaming"),
            aiokafka=version("aiokafka"),
        )

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """See `app.ports.metrics.Meter`."""
        key = (name, *labels.values())
        if key not in self._counted:
            if not isinstance(self._child(name, labels), Counter):
                raise Defect(f"{name} is not a counter")
            self._counted[key] = 0.0
        self._counted[key] += value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """See `app.ports.metrics.Meter`."""
        key = (name, *labels.values())
        histogram = self._histograms.get(key)
        if histogram is None:
            child = self._child(name, labels)
            if not isinstance(child, Histogram):
                raise Defect(f"{name} is not a histogram")
            histogram = self._histograms[key] = child
        histogram.observe(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """See `app.ports.metrics.Meter`."""
        child = self._child(name, labels)
        if not isinstance(child, Gauge):
            raise Defect(f"{name} is not a gauge")
        child.set(value)

    def forget(self, name: str, **labels: str) -> None:
        """See `app.ports.metrics.Meter`."""
        family = self._families[name]
        if self._children.pop((name, *labels.values()), None) is not None and isinstance(family, Gauge):
            family.remove(*labels.values())

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        for key, value in self._counted.items():
            counter = self._children[key]
            if value and isinstance(counter, Counter):
                counter.inc(value)
                self._counted[key] = 0.0
        return generate_latest(self.registry)

    def _child(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        key = (name, *labels.values())
        child = self._children.get(key)
        if child is None:
            family = self._families.get(name)
            if family is None:
                raise Defect(f"{name} is not in the table of metrics")
            try:
                child = family.labels(**labels) if labels or isinstance(family, HistogramFamily) else family
            except ValueError as error:
                raise Defect(f"{name}: {error}") from error
            self._children[key] = child
        return child


def _family(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | HistogramFamily:
    name = PREFIX + metric.name
    match metric.kind:
        case "counter":
            return Counter(name.removesuffix("_total"), metric.sentence, metric.labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.sentence, metric.labels, registry=registry)
        case "histogram":
            family = HistogramFamily(name, metric.sentence, metric.labels, metric.buckets)
            registry.register(family)
            return family
        case kind:
            raise Defect(f"{metric.name}: unknown kind {kind}")
