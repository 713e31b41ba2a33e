"""What a query may use: the metrics and labels that the code declares, and those that Prometheus adds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from app.adapters.telemetry.metrics import METRICS, PREFIX, PROCESS_METRICS
from app.adapters.telemetry.top_endpoints import ENDPOINT_METRICS
from monitoring import causes, objectives
from monitoring.files import DASHBOARD
from monitoring.rule import Recording
from tests.monitoring.promql import Query, Selector, parse

_APP = Path(__file__).parents[2] / "app"
#: of the target, as Prometheus and its operator set them
TARGET = {"namespace", "job", "instance"}
FUNCTIONS = {
    *("sum", "max", "min", "count", "avg", "topk", "absent", "rate", "increase", "changes", "clamp_min"),
    *("max_over_time", "min_over_time", "last_over_time", "histogram_quantile", "time", "vector"),
}
#: labels whose values are not words of the code
_FREE = {"alertname", "alertstate", "code", "group", "le", "topic", *TARGET}


def recordings() -> list[Recording]:
    """All recording rules."""
    return [*causes.RECORDINGS, *objectives.recordings()]


def dashboard_queries() -> list[str]:
    """The queries of the committed dashboard, with ranges in place of Grafana's variables."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for row in board["panels"] for panel in (row, *row.get("panels", ()))]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    queries += [each["expr"] for each in board["annotations"]["list"] if "expr" in each]
    return [query.replace("$__rate_interval", "1m").replace("$__range", "3h") for query in queries]


@cache
def labels_of() -> dict[str, frozenset[str]]:
    """Each series' labels."""
    labels: dict[str, frozenset[str]] = {name: frozenset(TARGET) for name in PROCESS_METRICS}
    for metric in (*METRICS, *ENDPOINT_METRICS):
        of = frozenset({*metric.labels, *TARGET})
        name = PREFIX + metric.name
        if metric.kind == "histogram":
            labels |= {f"{name}_count": of, f"{name}_sum": of, f"{name}_bucket": of | {"le"}}
        else:
            labels[name] = of
    labels |= {each.name: frozenset({"namespace"}) for each in recordings()}
    labels["ALERTS"] = frozenset({"alertname", "alertstate", *TARGET})
    return labels


@cache
def _words() -> frozenset[str]:
    """All words in quotes in the code."""
    code = "".join(path.read_text(encoding="utf-8") for path in _APP.rglob("*.py"))
    return frozenset(re.findall(r'"([\w./-]+)"', code))


@cache
def _buckets() -> dict[str, frozenset[str]]:
    return {
        f"{PREFIX}{metric.name}_bucket": frozenset(str(float(bound)) for bound in metric.buckets) for metric in METRICS
    }


def problems(text: str) -> Iterator[str]:
    """What the query uses and nobody declares."""
    query = parse(text)
    for selector in query.selectors:
        if selector.metric not in labels_of():
            yield f"no metric {selector.metric}"
            continue
        yield from _problems(selector)
    if query.selectors:
        yield from _foreign_labels(query)
    yield from (f"no function {name}" for name in query.functions - FUNCTIONS)


def _problems(selector: Selector) -> Iterator[str]:
    for label, operator, value in selector.matchers:
        if label not in labels_of()[selector.metric]:
            yield f"{selector.metric} has no label {label}"
        elif label == "le":
            if value not in _buckets()[selector.metric]:
                yield f"{selector.metric} has no bucket {value}"
        elif label not in _FREE and "$" not in value:
            words = value.split("|") if operator in ("=~", "!~") else [value]
            yield from (f"{label} is never {word}" for word in words if word not in _words())


def _foreign_labels(query: Query) -> Iterator[str]:
    own = frozenset().union(*(labels_of().get(each.metric, frozenset()) for each in query.selectors))
    yield from (f"no series of the query has a label {label}" for label in query.labels - own)
