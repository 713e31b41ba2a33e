"""Draw the dashboard without Grafana, from what `tests/monitoring/record.py` left.

`python -m tests.monitoring.picture FOLDER [ROW…]` asks the queries of the committed dashboard of a real Prometheus. It
makes docs/screens/monitoring.png, or a picture of each named row.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from monitoring.files import DASHBOARD
from tests.e2e.browsing import chrome
from tests.monitoring.declared import recordings
from tests.monitoring.installation import prometheus

PICTURES = Path(__file__).parents[2] / "docs" / "screens"
_COLORS = ("#3274d9", "#e0752d", "#299c46", "#c15c17", "#8f3bb8", "#d44a3a", "#33a2e5", "#b7a300", "#777", "#e24d8f")
_WIDTH, _STEPS, _UNIT = 1800, 240, 30
_VARIABLES = {"$namespace": ".*", "$instance": ".*", "$__rate_interval": "1m"}
_STYLE = (
    "body{font:12px sans-serif;background:#f4f5f5;margin:8px;width:1784px}"
    "main{display:grid;grid-template-columns:repeat(24,1fr);gap:8px}"
    "section{background:#fff;border:1px solid #dcdee0;padding:6px 8px;overflow:hidden}"
    "h2{grid-column:1/25;margin:10px 0 0}"
    "h3{margin:0 0 4px;font-size:13px}p{margin:2px 0;color:#555;white-space:nowrap}"
    "b{font-size:40px}i{font-style:normal}"
    "svg{width:100%;height:130px;border-bottom:1px solid #ccc}td{padding:1px 8px;border-bottom:1px solid #eee}"
)
_RECORDED = re.compile(r"hookstream:[\w:]+")
#: legend and samples of one line
Line = tuple[str, list[tuple[float, float]]]


class Source:
    """A Prometheus, and the time that is drawn."""

    def __init__(self, http: aiohttp.ClientSession, url: str, begin: float, end: float) -> None:
        self._http = http
        self._url = url
        self.begin = begin
        self.end = end

    async def lines(self, panel: Mapping[str, Any]) -> list[Line]:
        """What the queries of a panel return."""
        lines: list[Line] = []
        for target in panel["targets"]:
            query = expanded(target["expr"]).replace("$__range", f"{self.end - self.begin:.0f}s")
            for name, value in _VARIABLES.items():
                query = query.replace(name, value)
            step = (self.end - self.begin) / _STEPS
            form = {"query": query, "start": str(self.begin), "end": str(self.end), "step": str(step)}
            async with self._http.post(f"{self._url}/api/v1/query_range", data=form) as answer:
                result = (await answer.json())["data"]["result"]
            for each in result:
                legend = target.get("legendFormat", "") or " ".join(each["metric"].values())
                for label, text in each["metric"].items():
                    legend = legend.replace("{{" + label + "}}", text)
                samples = [(at, float(value)) for at, value in each["values"] if value not in ("NaN", "+Inf")]
                lines.append((legend, samples))
        return [line for line in lines if line[1]]


def expanded(query: str) -> str:
    """The query with the recording rules' own queries in place of their series, which nobody has recorded."""
    rules = {each.name: each.expr for each in recordings()}
    while names := set(_RECORDED.findall(query)):
        for name in names:
            series = re.compile(rf"{name}(?:\{{[^}}]*\}}|(?![\w:{{]))")
            query = series.sub("(" + rules[name].replace("\\", r"\\") + ")", query)
    return query


def drawn(panel: Mapping[str, Any], lines: Sequence[Line], source: Source) -> str:
    """The panel as HTML."""
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    match panel["type"]:
        case "stat":
            value = lines[0][1][-1][1] if lines else 0.0
            return f'<b style="color:{_color(panel, value)}">{_number(value, unit)}</b>'
        case "table":
            rows = "".join(f"<tr><td>{html.escape(each)}<td>{values[-1][1]:,.0f}" for each, values in lines[:9])
            return f"<table>{rows}</table>"
    highest = max((value for _, values in lines for _, value in values), default=1.0) or 1.0
    shown = sorted(lines, key=lambda line: -max(value for _, value in line[1]))[: len(_COLORS)]
    paths = "".join(
        f'<polyline fill="none" stroke="{color}" stroke-width="1.5" vector-effect="non-scaling-stroke" points="'
        + " ".join(
            f"{1000 * (at - source.begin) / (source.end - source.begin):.1f},{130 - 126 * value / highest:.1f}"
            for at, value in values
        )
        + '"/>'
        for color, (_, values) in zip(_COLORS, shown, strict=False)
    )
    legend = " ".join(
        f'<i style="color:{color}">■ {html.escape(name)}</i>' for color, (name, _) in zip(_COLORS, shown, strict=False)
    )
    graph = f'<svg viewBox="0 0 1000 130" preserveAspectRatio="none">{paths}</svg>'
    return f"<p>max {_number(highest, unit)}</p>{graph}<p>{legend}</p>"


def _color(panel: Mapping[str, Any], value: float) -> str:
    color = "#333"
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            color = str(step["color"])
    return color


def _number(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{100 * value:.4g} %"
        case "bytes":
            return f"{value / 2**20:,.0f} MiB"
        case "s":
            return f"{value:.3g} s"
    return f"{value:,.4g}"


async def page(source: Source, only: str | None) -> str:
    """The dashboard, or one of its rows, as HTML."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    parts = []
    row = ""
    for panel in board["panels"]:
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            row = panel["title"]
        if only not in (None, row):
            continue
        if panel["type"] == "row":
            parts.append(f"<h2>{title}</h2>")
            continue
        size = panel["gridPos"]
        style = f"grid-column:span {size['w']};height:{size['h'] * _UNIT - 20}px"
        body = drawn(panel, await source.lines(panel), source)
        parts.append(f'<section style="{style}"><h3>{title}</h3>{body}</section>')
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><main>{''.join(parts)}</main>"


async def main(folder: Path, rows: Sequence[str]) -> None:
    """Make the picture of the whole recording, or one of each row."""
    windows = json.loads((folder / "incidents.json").read_text(encoding="utf-8")).values()
    begin, end = min(each["begin"] for each in windows), max(each["end"] for each in windows)
    async with prometheus(folder, {}) as url, aiohttp.ClientSession() as http:
        source = Source(http, url, begin, end)
        names: dict[str, str | None] = {f"monitoring-{row.lower().replace(' ', '-')}.png": row for row in rows}
        names = names or {"monitoring.png": None}
        texts = {name: await page(source, row) for name, row in names.items()}
    async with chrome() as browser:
        tab = await browser.new_page(viewport={"width": _WIDTH, "height": 300})
        for name, text in texts.items():
            await tab.set_content(text)
            await tab.screenshot(path=PICTURES / name, full_page=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
