"""The rows on what deliveries need: Kafka, endpoints and the processes."""

from __future__ import annotations

from monitoring.panel import Panel

_RATE = "[$__rate_interval]"

KAFKA = (
    Panel(
        "Registry commands",
        ((f"sum by (result) (rate(hookstream_registry_commands_total{{%s}}{_RATE}))", "{{result}}"),),
        "Changes of endpoints, tenants and keys, by result; anything but ok was refused.",
        unit="reqps",
    ),
    Panel(
        "Copies that were not sent",
        (
            (f"sum(rate(hookstream_attempts_reassigned_total{{%s}}{_RATE}))", "reassigned"),
            (f"sum(rate(hookstream_ordered_copies_skipped_total{{%s}}{_RATE}))", "ordered, settled before"),
            (f"sum(rate(hookstream_deliveries_superseded_total{{%s}}{_RATE}))", "superseded by a request"),
        ),
        "What is left over after rebalances, crashes and retries on request.",
        unit="reqps",
    ),
    Panel(
        "Partitions assigned",
        (("sum by (role) (hookstream_partitions_assigned{%s})", "{{role}}"),),
        "Over all processes. Less than usual: partitions that nobody processes.",
    ),
    Panel(
        "Rebalances",
        ((f"sum by (role) (increase(hookstream_rebalances_total{{%s}}{_RATE}))", "{{role}}"),),
        "Assignments of partitions to a process.",
    ),
    Panel(
        "Recovery",
        (("sum by (role) (hookstream_role_settling{%s})", "{{role}}"),),
        "Processes whose role starts, joins its group or recovers its tables.",
    ),
    Panel(
        "Records that tables still have to recover",
        (("sum by (role) (hookstream_table_recovery_records{%s})", "{{role}}"),),
        "Changelog records that a role reads before it processes events. A line that does not fall: recovery is stuck.",
    ),
    Panel(
        "Commits",
        ((f"max by (group) (rate(hookstream_committed_offsets_total{{%s}}{_RATE}))", "{{group}}"),),
        "Offsets that groups commit. Nothing while records wait (row Backlog): the group does not get on.",
        unit="cps",
    ),
    Panel(
        "Producer errors",
        ((f"sum by (topic, error) (rate(hookstream_producer_errors_total{{%s}}{_RATE}))", "{{topic}} {{error}}"),),
        "Appends that had to be retried.",
        unit="reqps",
    ),
    Panel(
        "Commits: age of the oldest uncommitted record",
        (("max by (group) (hookstream_consumer_lag_seconds{%s})", "{{group}}"),),
        "A line that rises steadily: the group does not commit.",
        unit="s",
    ),
    Panel(
        "Logs that have moved",
        ((f"sum by (role, kind) (increase(hookstream_logs_moved_total{{%s}}{_RATE}))", "{{role}} {{kind}}"),),
        "Anything but zero: records were deleted before they were read, or the brokers lost some.",
    ),
)

ENDPOINTS = (
    Panel(
        "Endpoints by status",
        (("max by (state) (hookstream_endpoints{%s})", "{{state}}"),),
        "In the directory. Hookstream's own dashboard (link above) shows which.",
        kind="stacked",
    ),
    Panel(
        "Circuits open",
        (("sum(hookstream_circuits_open{%s})", "silent endpoints"),),
        "Endpoints that refuse connections or time out. Many at once: our way out is broken.",
    ),
    Panel(
        "Changes of health",
        (
            (f"sum by (change) (increase(hookstream_endpoint_health_changes_total{{%s}}{_RATE}))", "{{change}}"),
            (f"sum by (to) (increase(hookstream_circuit_transitions_total{{%s}}{_RATE}))", "circuit {{to}}"),
        ),
        "Endpoints that began to fail, recovered or were disabled, and circuits that opened or closed.",
    ),
    Panel(
        "Attempts in the chosen time",
        (("sum by (result, attempt) (increase(hookstream_attempts_total{%s}[$__range]))", ""),),
        "All attempts of the range of the dashboard, by result.",
        kind="table",
        width=12,
    ),
    Panel(
        "Names and machine",
        (
            (f"sum by (result) (rate(hookstream_dns_lookups_total{{%s}}{_RATE}))", "DNS: {{result}}"),
            (f"sum by (cause) (rate(hookstream_hindrances_total{{%s}}{_RATE}))", "hindered: {{cause}}"),
        ),
        "Lookups of endpoints' names, and attempts that this machine prevented.",
        unit="reqps",
        width=12,
    ),
)

_ENDPOINT = 'endpoint!="other",%s'
_PAGE = "${hookstream_url}/ui/t/%(tenant)s/%(mode)s/endpoints/%(endpoint)s"


def _page(fields: str) -> tuple[str, str]:
    """The link to an endpoint's page; `fields` is how Grafana writes a label of the place that was clicked."""
    return "Open the endpoint", _PAGE % {name: fields % name for name in ("tenant", "mode", "endpoint")}


def _top(expr: str) -> tuple[tuple[str, str], ...]:
    """The ten highest results by endpoint."""
    return ((f"topk(10, {expr})", "{{tenant}} {{endpoint}}"),)


def _by_endpoint(metric: str, over: str = _RATE) -> str:
    return f"sum by (tenant, mode, endpoint) (increase({metric}{{{_ENDPOINT}}}{over}))"


#: empty unless HOOKSTREAM_METRICS_TOP_ENDPOINTS is set
TOP_ENDPOINTS = (
    Panel(
        "Endpoints with the most failures in the chosen time",
        ((f"topk(20, {_by_endpoint('hookstream_endpoint_failures_total', '[$__range]')} > 0)", ""),),
        "Click on a row to open the endpoint. Set HOOKSTREAM_METRICS_TOP_ENDPOINTS to fill this row of the dashboard.",
        kind="table",
        width=12,
        link=_page("${__data.fields.%s}"),
    ),
    Panel(
        "Failures by endpoint",
        _top(_by_endpoint("hookstream_endpoint_failures_total") + " > 0"),
        "Attempts without a 2xx. Click on a line to open the endpoint.",
        kind="stacked",
        width=12,
        link=_page("${__field.labels.%s}"),
    ),
    Panel(
        "Attempts by endpoint",
        (
            *_top(_by_endpoint("hookstream_endpoint_attempts_total")),
            (f'sum(increase(hookstream_endpoint_attempts_total{{endpoint="other",%s}}{_RATE}))', "all others"),
        ),
        "The busiest endpoints, and all that have no metrics of their own.",
        kind="stacked",
        width=12,
        link=_page("${__field.labels.%s}"),
    ),
    Panel(
        "Mean duration of attempts by endpoint",
        _top(
            f"{_by_endpoint('hookstream_endpoint_attempt_seconds_total')}"
            f" / {_by_endpoint('hookstream_endpoint_attempts_total')}"
        ),
        "The slowest endpoints of those with metrics of their own.",
        unit="s",
        width=12,
        link=_page("${__field.labels.%s}"),
    ),
)

RUNTIME = (
    Panel(
        "Event loop lag",
        (("max by (instance) (hookstream_event_loop_lag_seconds{%s})", "{{instance}}"),),
        "More than half a second for five minutes alerts.",
        unit="s",
    ),
    Panel(
        "CPU",
        (
            (
                f"rate(process_cpu_seconds_total{{%s}}{_RATE}) and on (instance) hookstream_build_info{{%s}}",
                "{{instance}}",
            ),
        ),
        "Cores in use. A process cannot use much more than one.",
        unit="none",
    ),
    Panel(
        "Memory",
        (("process_resident_memory_bytes{%s} and on (instance) hookstream_build_info{%s}", "{{instance}}"),),
        "Resident memory.",
        unit="bytes",
    ),
    Panel(
        "File descriptors",
        (("process_open_fds{%s} and on (instance) hookstream_build_info{%s}", "{{instance}}"),),
        "80 % of the limit alerts.",
    ),
    Panel(
        "Requests in flight",
        (
            ("sum by (instance) (hookstream_attempts_in_flight{%s})", "{{instance}}"),
            ("max(hookstream_attempts_in_flight_limit{%s})", "limit"),
            ("sum by (instance) (hookstream_lane_deliveries{%s})", "waiting in {{instance}}"),
        ),
        "Near the limit, the process decides how much is delivered.",
    ),
    Panel(
        "Roles that failed, watchdogs",
        (
            (f"sum by (role) (increase(hookstream_role_restarts_total{{%s}}{_RATE}))", "restarted: {{role}}"),
            (
                f"sum by (role, verdict) (increase(hookstream_watchdog_verdicts_total{{%s}}{_RATE}))",
                "{{verdict}}: {{role}}",
            ),
        ),
        "Roles that were built anew, and those found without progress.",
    ),
    Panel(
        "Uptime",
        (("time() - process_start_time_seconds{%s} and on (instance) hookstream_build_info{%s}", "{{instance}}"),),
        "A drop is a start.",
        unit="s",
    ),
    Panel(
        "Connections closed by the API",
        ((f"sum by (reason) (rate(hookstream_api_connections_closed_total{{%s}}{_RATE}))", "{{reason}}"),),
        "displaced, refused and exhausted: clients open too many.",
        unit="reqps",
    ),
    Panel(
        "Versions",
        (("count by (version, python, faust, aiokafka) (hookstream_build_info{%s})", ""),),
        "Processes by version: during an upgrade there are two.",
        kind="table",
    ),
)
