"""The dashboard: variables, links, annotations, and the rows."""

from __future__ import annotations

from itertools import count

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from app.core import default_ports
from monitoring.panel import SOURCE
from monitoring.rows import ROWS

#: opens Hookstream's own dashboard; the address is asked for at the import
_OWN = "${hookstream_url}"


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def built() -> dashboard.Dashboard:
    """The dashboard for Grafana 10 and later."""
    board = (
        dashboard.Dashboard("Hookstream")
        .uid("hookstream")
        .description(
            "Webhook delivery out of Kafka: objectives, throughput, latency, backlog, Kafka, endpoints, runtime."
        )
        .tags(["hookstream"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("namespace", "Namespace", "label_values(hookstream_build_info, namespace)"))
        .with_variable(
            _choice("instance", "Process", 'label_values(hookstream_build_info{namespace=~"$namespace"}, instance)')
        )
        .with_variable(
            dashboard.TextBoxVariable("hookstream_url")
            .label("Hookstream's address")
            .default_value(f"http://localhost:{default_ports.API}")
        )
        .link(_link("Endpoints that fail", f"{_OWN}/ui/"))
        .link(_link("Operations", f"{_OWN}/ui/operations"))
        .annotation(_annotation("Process started", "blue", "changes(process_start_time_seconds[1m]) > 0"))
    )
    numbers = count(1)
    for title, panels in ROWS.items():
        board.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            board.with_panel(panel.builder().id(next(numbers)))
    return board


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(True).icon("external link")


def _annotation(name: str, color: str, expr: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)


def text() -> str:
    """The file that Grafana imports."""
    return JSONEncoder(sort_keys=True, indent=1).encode(built().build()) + "\n"
