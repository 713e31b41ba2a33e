"""The dashboard's queries use what the code declares, and its panels fit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.dashboard.server.routes import SCREENS
from monitoring.files import DASHBOARD
from monitoring.platform_rows import TOP_ENDPOINTS
from monitoring.rows import ROWS
from tests.monitoring.declared import dashboard_queries, labels_of, problems

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
_LABEL = re.compile(r"\$\{__(?:data\.fields|field\.labels)\.(\w+)\}")
_VARIABLE = re.compile(r"label_values\((?P<metric>\w+).*?(?P<label>\w+)\)$")


@pytest.mark.parametrize("query", dashboard_queries())
def test_a_query_uses_what_the_code_declares(query: str) -> None:
    assert not list(problems(query))


def test_a_variable_takes_its_values_from_an_existing_label() -> None:
    queries = [each["query"] for each in BOARD["templating"]["list"] if each["type"] == "query"]
    assert queries
    for query in queries:
        match = _VARIABLE.match(query)
        assert match is not None and match["label"] in labels_of()[match["metric"]], query


def test_links_lead_to_pages_of_the_dashboard() -> None:
    links = [link["url"] for panel in BOARD["panels"] for link in _links(panel)]
    links += [link["url"] for link in BOARD["links"]]
    assert len(links) == len(TOP_ENDPOINTS) + len(BOARD["links"])
    paths = {f"/ui/t/{{tenant}}/{{mode}}{page.path}" if page.scoped else f"/ui{page.path}" for page in SCREENS}
    for link in links:
        path = _LABEL.sub(r"{\1}", link.removeprefix("${hookstream_url}")).replace("{endpoint}", "{id}")
        assert path.rstrip("/") in paths, link


def _links(panel: dict[str, Any]) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    return links


def test_every_row_has_panels_of_different_titles_within_the_width() -> None:
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == list(ROWS)
    for key in ("title", "id"):
        values = [panel[key] for panel in BOARD["panels"]]
        assert len(values) == len(set(values)), key
    for panel in BOARD["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["description"].endswith(".")
