"""A panel as a value, and the builder of grafana-foundation-sdk that it becomes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["lines", "stacked", "number", "heatmap", "table"]
#: a variable: whoever imports the dashboard chooses
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: of every query: the chosen namespaces and processes
PROCESSES = 'namespace=~"$namespace",instance=~"$instance"'
_HEIGHT = 8


class Panel(NamedTuple):
    """A panel: what it is called, shows and means."""

    title: str
    #: query and legend; `%s` in a query stands for the matchers of the dashboard's variables
    queries: tuple[tuple[str, str], ...]
    #: one sentence: what to read from it
    description: str
    unit: str = "short"
    kind: Kind = "lines"
    #: of 24
    width: int = 8
    #: title and address that a click on a series or row opens
    link: tuple[str, str] | None = None
    #: at which value a number turns orange and red; descending: smaller values are worse
    limits: tuple[float, float] | None = None

    def builder(self) -> Any:
        """The panel for Grafana."""
        panel = _KINDS[self.kind](self)
        panel.title(self.title).description(self.description).datasource(SOURCE).unit(self.unit)
        panel.span(self.width).height(4 if self.kind == "number" else _HEIGHT)
        if self.link is not None:
            title, url = self.link
            panel.data_links([dashboard.DashboardLink(title).url(url).target_blank(True)])
        for letter, (expr, legend) in zip("ABCDEFGH", self.queries, strict=False):
            query = prometheus.Dataquery().expr(expr.replace("%s", PROCESSES)).legend_format(legend).ref_id(letter)
            if self.kind == "table":
                query.instant().format(PromQueryFormat.TABLE)
            elif self.kind == "heatmap":
                query.range().format(PromQueryFormat.HEATMAP)
            else:
                query.range()
            panel.with_target(query)
        return panel


def _lines(panel: Panel) -> Any:
    return (
        timeseries.Panel()
        .fill_opacity(10)
        .legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .min(0)
    )


def _stacked(panel: Panel) -> Any:
    return _lines(panel).fill_opacity(60).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))


def _number(panel: Panel) -> Any:
    built = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if panel.limits is not None:
        orange, red = panel.limits
        colors = ("green", "orange", "red") if orange < red else ("red", "orange", "green")
        middle, last = sorted(panel.limits)
        steps = [Threshold(color=colors[0]), Threshold(middle, colors[1]), Threshold(last, colors[2])]
        built.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return built


def _heatmap(panel: Panel) -> Any:
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return heatmap.Panel().color(color)


def _table(panel: Panel) -> Any:
    return table.Panel()


_KINDS = {"lines": _lines, "stacked": _stacked, "number": _number, "heatmap": _heatmap, "table": _table}
