"""What the sampler counts of a group's commits."""

from __future__ import annotations

from typing import Any, cast

from app.adapters.kafka.lag_sampler import LagSampler
from app.adapters.telemetry.metrics import PrometheusMeter
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock


def test_commits_are_counted_from_the_first_sample_on_and_a_reset_is_not() -> None:
    meter = PrometheusMeter()
    sampler = LagSampler(cast(Any, None), {}, topics_of(Settings()), FakeClock(), meter, partitions=lambda name: 1)
    counted = []
    for total in (1000, 1000, 1250, 10, 40):
        sampler._count_commits("g", "t", total)
        (line,) = (line for line in meter.exposition().decode().splitlines() if "committed_offsets_total{" in line)
        counted.append(float(line.split()[-1]))
    assert counted == [0, 0, 250, 250, 280]
