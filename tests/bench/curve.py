"""The picture of the bench of everyday rates, as SVG: latency over Kafka and over HTTP, and CPU for each event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from tests.bench.everyday import Everyday, Rate, Side
from tests.bench.results import Spread, spread

_WIDTH, _HEIGHT = 1080, 380
_PANEL, _PLOT, _TOP, _BOTTOM, _LEFT = 360, 280, 46, 296, 58
#: between two labels of the lower axis
_ROOM = 34
_STYLE = """
  svg { background: #ffffff; font: 12px system-ui, sans-serif; }
  text { fill: #1f2328; } .grid { stroke: #d0d7de; } .head { font-weight: 600; }
  .ours { stroke: #0550ae; fill: #0550ae; } .bare { stroke: #9a6700; fill: #9a6700; }
  .broker { stroke: #1a7f37; fill: #1a7f37; } .line { stroke-width: 2; }
  polyline.line { fill: none; } .dashed { stroke-dasharray: 5 4; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .grid { stroke: #30363d; }
    .ours { stroke: #79c0ff; fill: #79c0ff; } .bare { stroke: #e3b341; fill: #e3b341; }
    .broker { stroke: #7ee787; fill: #7ee787; }
  }
"""


class Line(NamedTuple):
    """One curve: a name, its classes in the style, and (rate, values of all runs)."""

    name: str
    classes: str
    points: Sequence[tuple[float, Spread]]


class Panel(NamedTuple):
    """One diagram with logarithmic axes."""

    title: str
    lines: Sequence[Line]


def picture(report: Everyday) -> str:
    """The whole picture."""
    body = "\n".join(
        line for place, panel in enumerate(panels(report)) for line in _drawn(panel, _PANEL * place + _LEFT)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-labelledby="title desc">\n'
        '<title id="title">Latency and CPU by rate</title>\n'
        '<desc id="desc">Latency over Kafka, latency over HTTP and CPU for each event against events per second, of '
        f"Hookstream and of bare loops. Numbers are in the tables of this page.</desc>\n<style>{_STYLE}</style>\n"
        f"{body}\n</svg>\n"
    )


def panels(report: Everyday) -> list[Panel]:
    """What is drawn."""
    rates = sorted(report.rates, key=lambda rate: rate.per_second)

    def line(name: str, classes: str, sides: Callable[[Rate], list[Side]], value: Callable[[Side], float]) -> Line:
        points = [(float(rate.per_second), spread(map(value, sides(rate)))) for rate in rates if sides(rate)]
        return Line(name, classes, points)

    def latency(ours: Callable[[Rate], list[Side]], bare: Callable[[Rate], list[Side]]) -> list[Line]:
        return [
            line("Hookstream p99", "ours dashed", ours, lambda side: side.p99_ms),
            line("Hookstream p50", "ours", ours, lambda side: side.p50_ms),
            line("bare loop p99", "bare dashed", bare, lambda side: side.p99_ms),
            line("bare loop p50", "bare", bare, lambda side: side.p50_ms),
        ]

    cpu = [
        line("fan-out + dispatch", "ours", lambda rate: rate.kafka, lambda side: sum(side.spent.cpu_ms)),
        line("bare loop", "bare", lambda rate: rate.bare, lambda side: sum(side.spent.cpu_ms)),
        line("broker", "broker", lambda rate: rate.kafka, lambda side: side.spent.broker_cpu_ms),
        line("broker, bare loop", "broker dashed", lambda rate: rate.bare, lambda side: side.spent.broker_cpu_ms),
    ]
    return [
        Panel("over Kafka: append → received, ms", latency(lambda rate: rate.kafka, lambda rate: rate.bare)),
        Panel("over HTTP: POST → received, ms", latency(lambda rate: rate.http, lambda rate: rate.bare_http)),
        Panel("CPU for each event over Kafka, ms", cpu),
    ]


class _Scale(NamedTuple):
    """A logarithmic axis from `low` to `high`, drawn from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def marks(self) -> list[float]:
        """1, 2, 5, 10, 20, 50, …"""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        return [step for step in steps if self.low <= step * 1.001 and step <= self.high * 1.001]


def scale(values: Sequence[float], begin: float, end: float) -> _Scale:
    """An axis whose ends are powers of ten around the values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = 10.0 ** math.floor(math.log10(min(positive))), 10.0 ** math.ceil(math.log10(max(positive)))
    return _Scale(low, high if high > low else low * 10, begin, end)


def _drawn(panel: Panel, left: float) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    rates = sorted({rate for rate, _ in points}) or [1.0]
    across = _Scale(rates[0], max(rates[-1], rates[0] * 2), left, left + _PLOT)
    upwards = scale([value for _, values in points for value in values], _BOTTOM, _TOP)
    yield f'<text class="head" x="{left}" y="24">{escape(panel.title)}</text>'
    for mark in upwards.marks():
        height = upwards.at(mark)
        yield f'<line class="grid" x1="{left}" y1="{height}" x2="{left + _PLOT}" y2="{height}"/>'
        yield f'<text x="{left - 6}" y="{height + 4}" text-anchor="end">{mark:g}</text>'
    end = -float(_ROOM)
    for x, rate in ((across.at(rate), rate) for rate in rates):
        if x - end >= _ROOM:
            yield f'<text x="{x}" y="{_BOTTOM + 18}" text-anchor="middle">{rate:,.0f}</text>'
            end = x
    yield f'<text x="{left + _PLOT}" y="{_BOTTOM + 34}" text-anchor="end">events/s</text>'
    for place, line in enumerate(panel.lines):
        yield from _curve(line, across, upwards)
        x, y = left + (place % 2) * 150, _BOTTOM + 56 + (place // 2) * 18
        yield f'<line class="{line.classes} line" x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}"/>'
        yield f'<text x="{x + 28}" y="{y}">{escape(line.name)}</text>'


def _curve(line: Line, across: _Scale, upwards: _Scale) -> Iterator[str]:
    places = [(across.at(rate), values) for rate, values in line.points]
    if not places:
        return
    path = " ".join(f"{x},{upwards.at(values.middle)}" for x, values in places)
    yield f'<polyline class="{line.classes} line" points="{path}"/>'
    for x, values in places:
        low, middle, high = (upwards.at(value) for value in values)
        color = line.classes.split()[0]
        yield f'<line class="{color}" x1="{x}" y1="{low}" x2="{x}" y2="{high}"/>'
        yield f'<circle class="{color}" cx="{x}" cy="{middle}" r="2.5"/>'
