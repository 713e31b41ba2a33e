"""What the answers of Kafka mean."""

from __future__ import annotations

import pytest

from app.core.cluster import TopicFacts
from app.core.diagnosis.kafka import (
    BrokerFacts,
    ClockReading,
    GroupFacts,
    judge_brokers,
    judge_clock,
    judge_groups,
    judge_leaders,
    version_of,
    worker_name,
)


def test_a_broker_that_does_not_answer_is_named_with_its_advertised_address() -> None:
    answering = BrokerFacts(id=1, address="a:9092", problem=None)
    silent = BrokerFacts(id=2, address="b:9092", problem="no answer within 5 s")
    (finding,) = judge_brokers([answering, silent])
    assert "Broker 2" in finding.problem and "b:9092" in finding.remedy


@pytest.mark.parametrize(
    ("offset_ms", "round_trip_ms", "severity"),
    [
        (0, 10, None),
        (900, 10, None),
        (1_900, 2_000, None),  # the measurement itself explains it
        (5_000, 10, "warning"),
        (-5_000, 10, "warning"),
        (61_000, 10, "error"),
    ],
)
def test_a_clock_counts_as_wrong_only_beyond_the_error_of_its_measurement(
    offset_ms: int, round_trip_ms: int, severity: str | None
) -> None:
    middle = 1_000_000 + offset_ms
    reading = ClockReading(
        before_ms=middle - round_trip_ms / 2, broker_ms=1_000_000, after_ms=middle + round_trip_ms / 2
    )
    assert [each.severity for each in judge_clock(reading)] == ([severity] if severity else [])


def test_the_version_of_a_worker_is_read_from_its_client_id() -> None:
    assert version_of(worker_name("hookstream-dispatch", "1.2.3")) == "1.2.3"
    assert version_of("hookstream-dispatch") == "an unknown version"


def test_workers_of_other_versions_are_counted_by_role() -> None:
    groups = [
        GroupFacts(role="delay", group="g", state="Stable", clients=("d/2", "d/1", "d/1")),
        GroupFacts(role="fanout", group="h", state="Stable", clients=("f/2", "f")),
        GroupFacts(role="replay", group="r", state="Empty", clients=()),
    ]
    problems = [each.problem for each in judge_groups(groups, "2")]
    assert problems == [
        "No process runs replay.",
        "Workers of 1 run beside this program's 2: delay (2).",
        "Workers of an unknown version run beside this program's 2: fanout (1).",
    ]


def test_partitions_without_a_leader_are_listed_up_to_a_limit() -> None:
    (finding,) = judge_leaders({"t": TopicFacts("", 7, tuple(range(7))), "u": TopicFacts("", 1)})
    assert "t/0, t/1, t/2, t/3, t/4 and 2 more" in finding.problem
