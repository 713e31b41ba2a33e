"""The rows of the dashboard; the panels of the first one."""

from __future__ import annotations

from monitoring import objectives
from monitoring.delivery_rows import BACKLOG, LATENCY, THROUGHPUT
from monitoring.panel import Panel
from monitoring.platform_rows import ENDPOINTS, KAFKA, RUNTIME, TOP_ENDPOINTS


def _slo(number: int) -> tuple[Panel, Panel]:
    """The share of good events in an hour, and how fast the error budget is used up."""
    each = objectives.OBJECTIVES[number]
    name = each.name.replace("_", " ")
    errors = {window: f'{each.series("errors", window)}{{namespace=~"$namespace"}}' for window in objectives.WINDOWS}
    good = Panel(
        f"Objective: {name}",
        ((f"1 - max({errors['1h']})", "last hour"),),
        f"Share of good events in the last hour: {each.meaning}. Objective {each.objective}.",
        unit="percentunit",
        kind="number",
        width=4,
        limits=(1 - each.budget, 1 - 6 * each.budget),
    )
    burn = Panel(
        f"Burn rate: {name}",
        tuple((f"max({errors[window]}) / {each.budget:g}", window) for window in objectives.WINDOWS),
        "1 uses up the error budget in exactly thirty days. 14.4 in 1h and 5m, or 6 in 6h and 30m, alerts.",
        unit="none",
    )
    return good, burn


_SLOS = [_slo(number) for number in range(len(objectives.OBJECTIVES))]

HEALTH = (
    *(good for good, _ in _SLOS),
    Panel(
        "Kafka reachable",
        (("max(hookstream_kafka_up{%s})", "reachable"),),
        "1 while at least one process reaches Kafka.",
        kind="number",
        width=4,
        limits=(1, 0.5),
    ),
    Panel(
        "Checks that fail",
        (("sum(1 - hookstream_ready{%s})", "checks"),),
        "Checks of /readyz over all processes.",
        kind="number",
        width=4,
        limits=(1, 3),
    ),
    Panel(
        "Firing alerts",
        (
            (
                'sum(ALERTS{alertname=~"Hookstream.*",alertstate="firing",namespace=~"$namespace"}) or vector(0)',
                "alerts",
            ),
        ),
        "Alerts of monitoring/rules/hookstream.yaml that fire now.",
        kind="number",
        width=4,
        limits=(1, 3),
    ),
    *(burn for _, burn in _SLOS),
    Panel(
        "Ready",
        (("min by (check) (hookstream_ready{%s})", "{{check}}"),),
        "0: the check fails on at least one process; /readyz says why.",
        width=12,
    ),
    Panel(
        "Dependencies",
        (("max by (dependency) (hookstream_dependency_up{%s})", "{{dependency}}"),),
        "0: no process gets an answer.",
        width=12,
    ),
)

ROWS = {
    "Objectives and health": HEALTH,
    "Throughput": THROUGHPUT,
    "Latency": LATENCY,
    "Backlog": BACKLOG,
    "Kafka": KAFKA,
    "Endpoints": ENDPOINTS,
    "Top endpoints": TOP_ENDPOINTS,
    "Runtime": RUNTIME,
}
