"""Make the committed recordings of what `tests/monitoring/record.py` left.

`python -m tests.monitoring.extract FOLDER` writes them to `tests/monitoring/recordings/`.

A recording has the series that the rules read, in the notation of promtool's tests, from two minutes before the fault
to its end. Gauges are rounded, so that noise does not fill the file.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from monitoring import causes, objectives
from tests.monitoring.declared import recordings
from tests.monitoring.installation import SCRAPE_S, prometheus
from tests.monitoring.promql import Selector, parse

RECORDINGS = Path(__file__).parent / "recordings"
_GONE = "stale"
_COUNTERS = ("_total", "_count", "_bucket")
_EXACT = ("process_start_time_seconds",)


def selectors() -> list[str]:
    """What the rules read of the service."""
    queries = [each.expr for each in recordings()]
    queries += [each.expr for each in (*objectives.alerts(), *causes.ALERTS)]
    found = {selector for query in queries for selector in parse(query).selectors}
    return sorted(_text(each) for each in found if not each.metric.startswith("hookstream:"))


def _text(selector: Selector) -> str:
    matchers = ",".join(f'{label}{operator}"{value}"' for label, operator, value in selector.matchers)
    return f"{selector.metric}{{{matchers}}}"


def notation(values: Sequence[float | None]) -> str:
    """Samples as promtool reads them: numbers, `a+bxn` for n equal steps after a, `_` and `stale` where none is."""
    return " ".join(_runs(values))


def _runs(values: Sequence[float | None]) -> Iterator[str]:
    position = 0
    while position < len(values):
        value = values[position]
        if value is None:
            yield _GONE if position and values[position - 1] is not None else "_"
            position += 1
            continue
        end = position + 1
        step = 0.0
        while end < len(values) and (following := values[end]) is not None:
            previous = values[end - 1]
            assert previous is not None
            if end == position + 1:
                step = following - previous
            elif not math.isclose(following - previous, step, abs_tol=1e-9):
                break
            end += 1
        if end - position > 2:
            yield f"{value:.12g}{step:+.12g}x{end - position - 1}"
        else:
            yield f"{value:.12g}"
            end = position + 1
        position = end


def rounded(name: str, value: float) -> float:
    """A sample without noise: what is no whole number has two digits that count."""
    if value.is_integer() or name.endswith(_COUNTERS) or name in _EXACT:
        return value
    return round(value, 1 - math.floor(math.log10(abs(value)))) if abs(value) >= 0.05 else 0.0


async def extract(url: str, window: Mapping[str, float]) -> dict[str, Any]:
    """The recording of one incident."""
    samples = math.floor((window["end"] - window["begin"]) / SCRAPE_S)
    series: dict[str, str] = {}
    async with aiohttp.ClientSession() as http:
        for selector in selectors():
            answer = await http.get(
                f"{url}/api/v1/query_range",
                params={
                    "query": selector,
                    "start": f"{window['begin']}",
                    "end": f"{window['begin'] + samples * SCRAPE_S}",
                    "step": f"{SCRAPE_S}s",
                },
            )
            for each in (await answer.json())["data"]["result"]:
                name = each["metric"].pop("__name__")
                labels = ",".join(f"{label}={json.dumps(text)}" for label, text in sorted(each["metric"].items()))
                at = {round((time - window["begin"]) / SCRAPE_S): float(value) for time, value in each["values"]}
                values = [rounded(name, at[number]) if number in at else None for number in range(samples + 1)]
                series[f"{name}{{{labels}}}"] = notation(values)
    return {
        "interval_s": SCRAPE_S,
        "fault_s": round(window["fault"] - window["begin"]),
        "end_s": samples * SCRAPE_S,
        "series": dict(sorted(series.items())),
    }


async def main(folder: Path, names: Iterable[str]) -> None:
    """Write the recordings of all incidents of the folder, or of the named ones."""
    windows = json.loads((folder / "incidents.json").read_text(encoding="utf-8"))
    RECORDINGS.mkdir(exist_ok=True)
    async with prometheus(folder, {}) as url:
        for name in names or windows:
            recording = await extract(url, windows[name])
            text = json.dumps(recording, indent=1) + "\n"
            (RECORDINGS / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
