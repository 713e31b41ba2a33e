"""What a load needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.sizing import ALONE, DISPATCH_US, FANOUT_US, MOST_IN_FLIGHT, PROJECTION_US, Load, Size, size
from app.core.topics.names import TopicName
from app.runtime.roles import EVERYWHERE
from app.runtime.topics import topics_of
from app.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "deploy" / "sizing.md"


def processes(needed: Size) -> dict[str, int]:
    return {each.role: each.processes for each in needed.workloads}


def test_a_small_load_needs_two_processes_of_each_role() -> None:
    needed = size(Load(events_per_second=10))
    assert set(processes(needed).values()) == {2}
    assert (needed.partitions, needed.requests_in_flight) == (12, 6)


def test_ten_thousand_deliveries_per_second() -> None:
    needed = size(Load(events_per_second=5_000, matches=2, retries=0, answer_s=0.05))
    assert processes(needed)["dispatch"] == 3, "10,000 × 135 µs are 1.35 cores, half of each is free"
    assert processes(needed)["projection"] == 3 and processes(needed)["fanout"] == 2
    assert needed.partitions == 96


def test_everyday_rates_cost_more_for_each_delivery_than_bulk() -> None:
    def cores(per_second: float) -> dict[str, float]:
        return {each.role: each.busy_cores for each in size(Load(events_per_second=per_second, retries=0)).workloads}

    assert (cores(100)["fanout"], cores(100)["dispatch"]) == (0.2, 0.11), "each record arrives alone"
    assert (cores(1_000)["fanout"], cores(1_000)["dispatch"]) == (1.0, 0.5), "two processes each, whose batches grow"
    assert cores(10_000)["dispatch"] == 1.35 and cores(100_000)["fanout"] == 3.0


def test_partitions_suffice_for_two_of_each_process() -> None:
    needed = size(Load(events_per_second=100_000, retries=0))
    assert processes(needed)["dispatch"] == 49 and needed.partitions == 192
    assert size(Load(events_per_second=1_000, retries=0, answer_s=60)).partitions == 192
    assert size(Load(events_per_second=1_000_000)).partitions == 1_536


def test_slow_receivers_need_more_dispatch_processes() -> None:
    needed = size(Load(events_per_second=1_000, retries=0, answer_s=10))
    assert needed.requests_in_flight == 10_000
    assert processes(needed)["dispatch"] == -(-10_000 // MOST_IN_FLIGHT)


def test_endpoints_take_memory_in_each_process() -> None:
    few, many = size(Load(events_per_second=1)), size(Load(events_per_second=1, endpoints=100_000))
    grown = [b.memory_mib - a.memory_mib for a, b in zip(few.workloads, many.workloads, strict=True)]
    assert all(110 < each < 120 for each in grown)


def test_the_example_of_the_document() -> None:
    """1 million events a day of 2 KB to three endpoints: 14 + 53 + 90 GB."""
    a_day = 1_000_000 / 86_400
    needed = size(Load(events_per_second=a_day, average=1, matches=3, payload_bytes=2_000, retries=0))
    assert needed.kafka_gb == pytest.approx(14 + 52.5 + 90, abs=0.5)
    assert needed.database_gb == pytest.approx(90 * 1.2, abs=1)


def test_nothing_needs_the_least() -> None:
    needed = size(Load(events_per_second=0))
    assert (needed.kafka_gb, needed.database_gb, needed.requests_in_flight) == (0, 0, 0)


def test_the_model_has_what_is_declared_elsewhere() -> None:
    needed = size(Load(events_per_second=1))
    assert {each.role for each in needed.workloads} == set(EVERYWHERE)
    assert Settings().max_in_flight == MOST_IN_FLIGHT
    topics = topics_of(Settings())
    for topic, days in ((TopicName.EVENTS_RAW, 7), (TopicName.DELIVERIES, 7), (TopicName.ATTEMPTS, 30)):
        (spec,) = [each for each in topics.specs if each.logical == topic]
        assert int(spec.config["retention.ms"]) == days * 86_400_000, "kafka_gb is for these days"


def test_the_document_has_the_costs_of_the_model() -> None:
    rows = [
        line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "µs" in line
    ]
    for role, (alone_ms, most) in ALONE.items():
        assert f"| `{role}` | {alone_ms:g} ms | {most:g} cores |" in DOCUMENT.read_text(encoding="utf-8")
    for step, cost in (
        ("fan-out", FANOUT_US),
        ("dispatch", DISPATCH_US),
        ("projection into PostgreSQL", PROJECTION_US),
    ):
        (row,) = [each for each in rows if each.startswith(f"| {step}")]
        assert f"{cost:.0f} µs" in row
