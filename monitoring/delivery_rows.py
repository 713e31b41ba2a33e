"""The rows on deliveries: throughput, latency and backlog."""

from __future__ import annotations

from monitoring.panel import Panel

_RATE = "[$__rate_interval]"


def _quantiles(metric: str, matchers: str = "") -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99 of a histogram."""
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket{{{matchers}%s}}{_RATE})))",
            f"p{quantile * 100:g}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


THROUGHPUT = (
    Panel(
        "Events",
        ((f"sum by (result) (rate(hookstream_events_ingested_total{{%s}}{_RATE}))", "{{result}}"),),
        "Records of events.raw that fan-out has read.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Attempts by result",
        ((f"sum by (result) (rate(hookstream_attempts_total{{%s}}{_RATE}))", "{{result}}"),),
        "HTTP requests to endpoints. Anything but ok is retried or dies.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Attempts by reason",
        ((f"sum by (attempt) (rate(hookstream_attempts_total{{%s}}{_RATE}))", "{{attempt}}"),),
        "first and retry of deliveries; replay: the first attempt of a replayed one; manual: on request.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Deliveries that ended",
        ((f"sum by (outcome) (rate(hookstream_deliveries_total{{%s}}{_RATE}))", "{{outcome}}"),),
        "Each accepted delivery ends as delivered, dead or cancelled.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Endpoints per event",
        _quantiles("hookstream_event_fanout_endpoints"),
        "How many endpoints an accepted event goes to.",
        unit="none",
    ),
    Panel(
        "Attempts per success",
        _quantiles("hookstream_delivery_attempts_per_success"),
        "How many attempts deliveries take until their 2xx.",
        unit="none",
    ),
    Panel(
        "Success of first attempts",
        (
            (
                f'sum(rate(hookstream_attempts_total{{result="ok",attempt="first",%s}}{_RATE}))'
                f' / sum(rate(hookstream_attempts_total{{attempt="first",%s}}{_RATE}))',
                "first attempts",
            ),
        ),
        "Share of first attempts with a 2xx answer.",
        unit="percentunit",
    ),
    Panel(
        "Rejected and unusual records",
        (
            (f"sum by (reason) (rate(hookstream_events_rejected_total{{%s}}{_RATE}))", "rejected: {{reason}}"),
            (f"sum by (topic) (rate(hookstream_records_unreadable_total{{%s}}{_RATE}))", "unreadable: {{topic}}"),
            (f"sum by (topic) (rate(hookstream_records_reduced_total{{%s}}{_RATE}))", "reduced: {{topic}}"),
            (f"sum(rate(hookstream_schema_warnings_total{{%s}}{_RATE}))", "against their schema"),
        ),
        "Records that were no events, could not be decoded, had to be cut, or violate the schema of their type.",
        unit="reqps",
    ),
)

LATENCY = (
    Panel(
        "Append to 2xx",
        ((f"sum by (le) (increase(hookstream_delivery_latency_seconds_bucket{{%s}}{_RATE}))", "{{le}}"),),
        "From the event's append to the endpoint's 2xx, retries included.",
        unit="s",
        kind="heatmap",
        width=12,
    ),
    Panel(
        "Append to the start of the first attempt",
        _quantiles("hookstream_first_attempt_delay_seconds"),
        "What the service itself takes: the receiver has no part in it.",
        unit="s",
        width=12,
    ),
    *(
        Panel(title, _quantiles("hookstream_attempt_duration_seconds", f'phase="{phase}",'), text, unit="s")
        for title, phase, text in (
            ("Phase: connect", "connect", "DNS, TCP and TLS, where no connection could be reused."),
            (
                "Phase: first byte",
                "first_byte",
                "From the request's last byte to the status line: the receiver's time.",
            ),
            ("Whole request", "total", "All phases, and the rest of the answer."),
        )
    ),
    Panel(
        "Phase: DNS",
        _quantiles("hookstream_dns_lookup_seconds"),
        "Lookups of endpoints' names that were not in the cache.",
        unit="s",
    ),
    Panel(
        "API: POST /v1/events",
        _quantiles("hookstream_http_server_request_duration_seconds", 'route="/v1/events",method="POST",'),
        "Time to accept events over HTTP.",
        unit="s",
    ),
    Panel(
        "API: slowest routes (p95)",
        (
            (
                "topk(10, histogram_quantile(0.95, sum by (le, route) "
                f"(rate(hookstream_http_server_request_duration_seconds_bucket{{%s}}{_RATE}))))",
                "{{route}}",
            ),
        ),
        "Routes of the API and the dashboard by their templates.",
        unit="s",
    ),
    Panel(
        "API: requests by status",
        ((f"sum by (code) (rate(hookstream_http_server_request_duration_seconds_count{{%s}}{_RATE}))", "{{code}}"),),
        "429: a key or tenant asks too often. 503: Kafka or the database does not answer.",
        unit="reqps",
        kind="stacked",
    ),
)

BACKLOG = (
    Panel(
        "Lag in seconds",
        (("max by (group, topic) (hookstream_consumer_lag_seconds{%s})", "{{group}} {{topic}}"),),
        "Age of the oldest record behind the committed offset. A group whose processes are all down has no series.",
        unit="s",
        width=12,
    ),
    Panel(
        "Lag in records",
        (("max by (group, topic) (hookstream_consumer_lag_records{%s})", "{{group}} {{topic}}"),),
        "Committed records behind the committed offset; delay topics hold records on purpose.",
        width=12,
    ),
    Panel(
        "Retries waiting, by rung",
        (("max by (rung) (hookstream_retry_backlog{%s})", "{{rung}}"),),
        "Deliveries in the delay topics.",
        kind="stacked",
    ),
    Panel(
        "Oldest overdue retry",
        (("max by (rung) (hookstream_retry_oldest_due_age_seconds{%s})", "{{rung}}"),),
        "More than two minutes for five minutes alerts.",
        unit="s",
    ),
    Panel(
        "Lateness of retries (p95)",
        (
            (
                "histogram_quantile(0.95, sum by (le, rung) "
                f"(rate(hookstream_retry_lateness_seconds_bucket{{%s}}{_RATE})))",
                "{{rung}}",
            ),
        ),
        "From a retry's due time to its release.",
        unit="s",
    ),
    Panel(
        "Dead letters",
        ((f"sum by (reason) (increase(hookstream_dead_letters_total{{%s}}{_RATE}))", "{{reason}}"),),
        "paused: parked until the endpoint's resume. Everything else has to be retried by somebody.",
        kind="stacked",
    ),
    Panel(
        "Deferred without an attempt",
        ((f"sum by (reason) (rate(hookstream_deliveries_deferred_total{{%s}}{_RATE}))", "{{reason}}"),),
        "lane_full and rate_limit: an endpoint gets more than it takes. circuit_open: it is silent.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Retries scheduled",
        ((f"sum by (rung) (rate(hookstream_retry_scheduled_total{{%s}}{_RATE}))", "{{rung}}"),),
        "Failed attempts that get another one.",
        unit="reqps",
        kind="stacked",
    ),
    Panel(
        "Age of the read model's records (p95)",
        (
            (
                f"histogram_quantile(0.95, sum by (le) (rate(hookstream_projection_age_seconds_bucket{{%s}}{_RATE})))",
                "p95",
            ),
        ),
        "How old the oldest record of each transaction is when it is written.",
        unit="s",
    ),
    Panel(
        "Replays",
        (("max by (state) (hookstream_replays{%s})", "{{state}}"),),
        "Replays that have not ended.",
        kind="stacked",
    ),
    Panel(
        "Notices and e-mails",
        (
            ("sum(hookstream_notices_waiting{%s})", "waiting"),
            (f"sum by (result) (increase(hookstream_emails_total{{%s}}{_RATE}))", "{{result}}"),
            (f"sum by (kind) (increase(hookstream_notices_total{{%s}}{_RATE}))", "written: {{kind}}"),
        ),
        "later: the mail server could not take it now. refused and given_up: the owner does not get it.",
    ),
)
