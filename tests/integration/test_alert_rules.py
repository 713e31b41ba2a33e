"""The rules under promtool: each alert fires on what it is for, alone, and none on a healthy service."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from monitoring.files import RULES
from tests.monitoring import promtool
from tests.monitoring.declared import dashboard_queries
from tests.monitoring.firing import FIRING, INTERVAL, healthy


def test_prometheus_reads_the_rules() -> None:
    subprocess.run([promtool.program(), "check", "rules", str(RULES)], check=True, capture_output=True)


def test_prometheus_reads_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(dashboard_queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    result = subprocess.run([promtool.program(), "check", "rules", str(file)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_fires_on_its_condition_and_on_nothing_else(tmp_path: Path) -> None:
    cases = []
    for each in FIRING:
        series = {name: values for name, values in {**healthy(), **each.changed}.items() if values is not None}
        expected = [(each.alert, each.severity), *each.also]
        cases.append(promtool.case(each.alert, series, INTERVAL, each.at, expected))
    promtool.run(tmp_path, cases, INTERVAL)


def test_a_healthy_service_raises_no_alert(tmp_path: Path) -> None:
    promtool.run(tmp_path, [promtool.case("healthy", healthy(), INTERVAL, "7h", [], within="7h")], INTERVAL)
