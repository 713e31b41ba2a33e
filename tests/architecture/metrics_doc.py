"""Write the table in docs/metrics.md from the table of metrics in the code."""

from __future__ import annotations

from app.adapters.telemetry.metrics import METRICS, PREFIX
from app.adapters.telemetry.top_endpoints import ENDPOINT_METRICS
from tests.architecture.section import Section

SECTION = Section("docs/metrics.md", "metrics_doc.py")


def generated() -> str:
    """The table, in the order of the code."""
    rows = [
        f"| `{PREFIX}{each.name}` | {each.kind} | {', '.join(each.labels) or '–'} | {each.sentence} |"
        for each in (*METRICS, *ENDPOINT_METRICS)
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])
