"""The table in docs/metrics.md is what app/adapters/telemetry/metrics.py says, and every metric is measured
somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from app.adapters.telemetry.metrics import METRICS, PREFIX

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `(hookstream_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_table_is_what_the_code_says() -> None:
    text = (_ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    said = [(PREFIX + each.name, each.kind, ", ".join(each.labels) or "–", each.sentence) for each in METRICS]
    assert _ROW.findall(text) == said


def test_every_metric_is_measured_somewhere() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (_ROOT / "app").rglob("*.py"))
    silent = [each.name for each in METRICS if not re.search(rf"(count|gauge|observe)\(\s*\"{each.name}\"", code)]
    assert not silent
