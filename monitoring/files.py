"""The generated files, and what makes their texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monitoring import dashboard, rules_file, runbook_index

_HERE = Path(__file__).parent
RULES = _HERE / "rules" / "hookstream.yaml"
RUNBOOKS = _HERE.parent / "docs" / "runbooks"
DASHBOARD = _HERE / "dashboards" / "hookstream.json"
#: Helm reads no file outside a chart
_CHART = _HERE.parent / "helm" / "hookstream" / "files"
FILES: dict[Path, Callable[[], str]] = {
    RULES: rules_file.text,
    DASHBOARD: dashboard.text,
    RUNBOOKS / "README.md": runbook_index.text,
    _CHART / "rules.yaml": rules_file.text,
    _CHART / "dashboard.json": dashboard.text,
}
