"""The report of the bench: ratios, goals, tables and the picture, from values that were not measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from tests.architecture.test_documents import ROOT
from tests.bench import growth, pipeline, registry
from tests.bench.circumstances import Circumstances
from tests.bench.curve import picture, scale
from tests.bench.everyday import Everyday, Idle, Rate, Side
from tests.bench.goals import Goal, goals
from tests.bench.performance_page import PAGE, number, rendered, replaced, shown
from tests.bench.pipeline import event
from tests.bench.publisher import SERVICES
from tests.bench.results import Results, load, ratios, save, spread
from tests.bench.stage import Run
from tests.bench.subjects import Requests, Spent

SVG = "{http://www.w3.org/2000/svg}"
CIRCUMSTANCES = Circumstances(
    at="2026-01-01 00:00",
    commit="0000000",
    command="python -m tests.bench everyday",
    cores=2,
    processor="one",
    memory_gib=8,
    python="3.11",
    load=0.1,
    calculation_ms=[10.0, 11.0, 12.0],
)


def side(p50_ms: float, p99_ms: float, cpu_ms: float) -> Side:
    kinds = {"Fetch": Requests(2.5, 640, 12), "Metadata": Requests(0.001, 20, 0)}
    spent = Spent(cpu_ms=(cpu_ms, cpu_ms), others_cpu_ms=1.0, broker_cpu_ms=2.0, requests=(kinds, kinds))
    return Side(p50_ms=p50_ms, p99_ms=p99_ms, events=100, spent=spent)


def rate(per_second: int, *, half_load: bool = False) -> Rate:
    """Ours takes 2, 3 and 4 times what the bare loops take."""
    return Rate(
        per_second=per_second,
        half_load=half_load,
        kafka=[side(8, 16, 2), side(12, 24, 3), side(16, 32, 4)],
        bare=[side(4, 8, 1)] * 3,
        http=[side(10, 20, 2), side(15, 30, 3), side(20, 40, 4)],
        bare_http=[side(5, 10, 1)] * 3,
    )


def everyday() -> Everyday:
    return Everyday(
        seconds=12,
        rates=[rate(10), rate(50), rate(150), rate(400), rate(1200, half_load=True)],
        full_kafka=[2400.0] * 3,
        full_http=[1200.0] * 3,
        together=[side(30, 60, 0), side(30, 90, 0), side(30, 80, 0)],
        idle=[Idle(0.5, 4.0), Idle(0.6, 5.0), Idle(0.7, 6.0)],
    )


def results() -> Results:
    report = pipeline.Report(
        http_one=pipeline.Speed(100, 3000.0),
        http_ten=pipeline.Speed(100, 5000.0),
        healthy_alone=pipeline.Ages(1.0, 10.0, 100),
        healthy_beside_hanging=pipeline.Ages(1.0, 11.0, 100),
    )
    return Results(
        everyday=everyday(),
        dispatch={
            "role": [Run(count=100, seconds=1.0, cpu_seconds=0.02)],
            "session": [Run(count=80, seconds=1.0, cpu_seconds=0.02)],
        },
        fanout={
            "role": [Run(count=80, seconds=1.0, cpu_seconds=0.1)],
            "raw": [Run(count=100, seconds=1.0, cpu_seconds=0.1)],
            "role beside 100,000 endpoints": [Run(count=80, seconds=1.0, cpu_seconds=0.12)],
        },
        pipeline=[report],
        registry=[registry.Report(endpoints=100_000, ready_s=3.5, rss_mib=336, create_p50_ms=9, create_p99_ms=20)],
        growth=[
            growth.Crowd(
                endpoints=1_000, ready_s=4, ready_cpu_s=2, ready_mib=160, few_us=[500, 500, 500], spread_us=[500]
            ),
            growth.Crowd(
                endpoints=1_000_000, ready_s=40, ready_cpu_s=18, ready_mib=1300, few_us=[550, 750, 650], spread_us=[600]
            ),
        ],
        circumstances={"everyday": CIRCUMSTANCES},
    )


def goal(text: str) -> Goal:
    (found,) = [each for each in goals(results()) if text in each.what]
    return found


def test_a_spread_is_least_median_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    assert spread([4.0, 2.0]) == (2.0, 3.0, 4.0)


def test_a_ratio_is_taken_within_a_run() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0], [])


@pytest.mark.parametrize(
    ("text", "values", "met"),
    [
        ("append → request received, 150 events/s: p50", [2, 3, 4], False),
        ("append → request received, 10 events/s: p99", [2, 3, 4], False),
        ("`POST /v1/events` → request received, 150 events/s: p50", [2, 3, 4], False),
        ("CPU of fan-out and dispatch, 400 events/s", [2, 3, 4], False),
        ("all roles in one process, 150 events/s over HTTP", [3, 3, 2], True),
        ("half load (1,200 events/s): p50", [2, 3, 4], True),
        ("half load (1,200 events/s): p99 beside p50", [2, 2, 2], True),
        ("idle, all roles", [0.5, 0.6, 0.7], True),
        ("idle, its broker", [4.0, 5.0, 6.0], False),
        ("beside a bare `ClientSession`", [1.25], True),
        ("parallel-consumer", [236 / 200], False),
        ("fan-out, one core", [0.8], False),
        ("over HTTP, 1 endpoint per", [3000.0], True),
        ("over HTTP, 10 endpoints per", [5000.0], False),
        ("beside 100,000 endpoints", [1.2], False),
        ("100,000 endpoints: a process with all roles is ready", [3.5], True),
        ("1,000,000 endpoints: a process with all roles is ready", [40.0], True),
        ("1,000,000 endpoints: memory of that process", [1300.0], True),
        ("1,000,000 endpoints: CPU of a delivery to 1,000", [1.1, 1.5, 1.3], False),
        ("1,000,000 endpoints: CPU of a delivery spread", [1.2], True),
        ("20 % of endpoints hanging", [1.1], True),
    ],
)
def test_goals_are_judged_by_the_median(text: str, values: list[float], met: bool) -> None:
    judged = goal(text)
    assert list(judged.values) == pytest.approx(values)
    assert judged.met is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    everything = goals(Results())
    assert {each.met for each in everything} == {None}
    assert len(everything) == len(goals(results()))
    assert rendered(Results()).count("not measured") == len(everything)


def test_goals_hold_without_some_rates() -> None:
    only = Results(everyday=msgspec.structs.replace(everyday(), rates=[rate(150)]))
    met = {each.what: each.met for each in goals(only)}
    assert met["CPU of fan-out and dispatch, 150 events/s, beside the bare loop"] is False
    assert met["CPU of fan-out and dispatch, 10 events/s, beside the bare loop"] is None


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_values_are_shown_with_their_spread() -> None:
    assert shown([3, 1, 2], "×") == "1.00 / **2.00** / 3.00 ×"
    assert shown([2500.0], "/s") == "**2,500**/s"
    assert shown([]) == "–"


def test_tables_have_as_many_cells_as_their_heads() -> None:
    widths: list[int] = []
    for line in [*rendered(results()).splitlines(), ""]:
        if line.startswith("|"):
            widths.append(line.count("|"))
        elif widths:
            assert len(set(widths)) == 1, widths
            widths = []


def test_the_page_shows_requests_that_matter() -> None:
    text = rendered(results())
    assert "Fetch 2.50 (640, 12)" in text
    assert "Metadata" not in text


def test_the_generated_part_of_the_page_is_replaced() -> None:
    page = (ROOT / PAGE).read_text("utf-8")
    once = replaced(page, "| a |")
    assert "| a |" in once
    assert replaced(once, "| b |") == replaced(page, "| b |")
    with pytest.raises(ValueError, match="no part"):
        replaced("# A page", "| a |")


def test_parts_are_stored_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    written = msgspec.to_builtins(results())
    for part in ("everyday", "dispatch"):
        save(part, written[part], CIRCUMSTANCES, file)
    save("readmodel", {"flows": []}, CIRCUMSTANCES, file)
    loaded = load(file)
    assert loaded.everyday == everyday()
    assert loaded.dispatch == results().dispatch
    assert set(loaded.circumstances) == {"everyday", "dispatch", "readmodel"}


def elements(report: Everyday) -> Iterator[Any]:
    return ElementTree.fromstring(picture(report)).iter()


def test_the_picture_is_well_formed() -> None:
    tags = [each.tag for each in elements(everyday())]
    assert tags[0] == f"{SVG}svg"
    assert tags.count(f"{SVG}polyline") == 12
    assert tags.count(f"{SVG}circle") == 12 * 5
    assert "prefers-color-scheme: dark" in picture(everyday())


def test_every_mark_is_inside_the_picture() -> None:
    for each in elements(everyday()):
        for name, most in (("cx", 1080), ("cy", 380), ("x", 1080), ("y", 380)):
            assert 0 <= float(each.get(name, 0)) <= most


def test_a_picture_of_nothing_is_well_formed() -> None:
    assert not [each for each in elements(Everyday(seconds=1)) if each.tag == f"{SVG}polyline"]


def test_an_axis_reaches_from_one_power_of_ten_to_another() -> None:
    axis = scale([3.0, 250.0], 0, 300)
    assert (axis.low, axis.high) == (1.0, 1000.0)
    assert axis.marks() == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert [axis.at(value) for value in (1, 10, 100, 1000)] == [0, 100, 200, 300]
    assert scale([], 0, 1).marks() == [1, 2, 5, 10]


def test_the_picture_of_the_page_is_well_formed() -> None:
    file = ROOT / "docs/screens/performance.svg"
    assert ElementTree.parse(file).getroot().tag == f"{SVG}svg"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_the_publisher_sends_each_service_the_same_data(name: str) -> None:
    body = event("bench", 1, "r1")
    sent = msgspec.json.decode(msgspec.json.encode(SERVICES[name].publish(body).body))
    (data,) = [sent[key] for key in ("data", "payload") if key in sent]
    assert data == msgspec.json.decode(body)["data"]
    assert any("http://127.0.0.1:1/one" in repr(request) for request in SERVICES[name].set_up("http://127.0.0.1:1/one"))
