"""Run promtool's tests of rules on series that a test makes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from monitoring.files import RULES

#: an alert and its severity
Fired = tuple[str, str]


def program() -> str:
    """Where promtool is."""
    found = shutil.which("promtool")
    assert found, "promtool is missing (Debian's package prometheus): make setup"
    return found


def case(
    name: str, series: Mapping[str, str], interval: str, at: str, expected: Iterable[Fired], *, within: str = ""
) -> dict[str, object]:
    """A test of promtool: exactly the expected alerts fire at that time, or at any time `within` a range before it."""
    firing = 'ALERTS{alertstate="firing"}'
    if within:
        firing = f"last_over_time({firing}[{within}])"
    samples = [
        {"labels": f'{{alertname="{alert}", severity="{severity}"}}', "value": 1}
        for alert, severity in sorted(expected)
    ]
    return {
        "name": name,
        "interval": interval,
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {"expr": f"group by (alertname, severity) ({firing})", "eval_time": at, "exp_samples": samples}
        ],
    }


def run(folder: Path, cases: Iterable[Mapping[str, object]], interval: str) -> None:
    """Run the tests, with rules evaluated in that interval; raises `AssertionError` with what promtool prints."""
    file = folder / "rules_test.yaml"  # JSON is YAML, too
    tests = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": list(cases)}
    file.write_text(json.dumps(tests), encoding="utf-8")
    result = subprocess.run([program(), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
