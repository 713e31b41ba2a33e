"""Incidents that were recorded on a real service: each raises its alert, and no other one.

`tests/monitoring/record.py` makes the incidents, `tests/monitoring/extract.py` the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring import promtool
from tests.monitoring.extract import RECORDINGS
from tests.monitoring.promtool import Fired
from tests.monitoring.record import INCIDENTS

#: what the pager shows
RAISED: dict[str, Fired | None] = {
    "nothing_wrong": None,
    "endpoint_dead": ("HookstreamEndpointsSilent", "info"),
    "fanout_killed": ("HookstreamRoleMissing", "critical"),
    "egress_blocked": ("HookstreamEgressBroken", "critical"),
    "broker_stopped": ("HookstreamKafkaDown", "critical"),
    "tenant_floods": ("HookstreamEndpointOverload", "warning"),
}


def recording(name: str) -> dict[str, Any]:
    """The file of an incident."""
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def test_every_incident_is_recorded() -> None:
    assert set(RAISED) == set(INCIDENTS) == {path.stem for path in RECORDINGS.glob("*.json")}


@pytest.mark.parametrize("name", RAISED)
def test_an_incident_raises_its_alert_and_no_other(name: str, tmp_path: Path) -> None:
    content = recording(name)
    raised = RAISED[name]

    def case(title: str, at_s: int, expected: Iterable[Fired]) -> dict[str, object]:
        interval = f"{content['interval_s']}s"
        return promtool.case(title, content["series"], interval, f"{at_s}s", expected, within=f"{at_s}s")

    cases = [
        case("before the fault", content["fault_s"] // 15 * 15, []),
        case("with the fault", content["end_s"], [] if raised is None else [raised]),
    ]
    promtool.run(tmp_path, cases, f"{content['interval_s']}s")
