"""The table in docs/metrics.md agrees with the code, and every metric is measured somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from app.adapters.telemetry.metrics import METRICS
from tests.architecture import metrics_doc

_ROOT = Path(__file__).parents[2]


def test_the_table_agrees_with_the_code() -> None:
    assert metrics_doc.SECTION.read() == metrics_doc.generated(), "run: make generate"


def test_every_metric_is_measured_somewhere() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (_ROOT / "app").rglob("*.py"))
    silent = [each.name for each in METRICS if not re.search(rf"(count|gauge|observe)\(\s*\"{each.name}\"", code)]
    assert not silent
