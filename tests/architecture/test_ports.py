"""Default ports are declared once, in app/settings.py; documents and dashboards repeat them."""

from __future__ import annotations

import re

from app.settings import Settings
from tests.architecture.section import ROOT


def test_the_runbooks_use_the_port_of_the_probes() -> None:
    ports = {
        port
        for path in (ROOT / "docs/runbooks").glob("*.md")
        for port in re.findall(r"HOST:(\d+)", path.read_text("utf-8"))
    }
    assert ports == {str(Settings().metrics_port)}


def test_prometheus_is_shown_the_port_of_the_probes() -> None:
    (targets,) = re.findall(r"targets: \[(.*)\]", (ROOT / "docs/operations.md").read_text("utf-8"))
    assert set(re.findall(r":(\d+)", targets)) == {str(Settings().metrics_port)}


def test_the_dashboard_links_to_the_port_of_the_api() -> None:
    text = (ROOT / "monitoring/dashboard.py").read_text("utf-8")
    assert set(re.findall(r"localhost:(\d+)", text)) == {str(Settings().api_port)}
