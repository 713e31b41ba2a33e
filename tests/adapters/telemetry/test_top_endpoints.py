"""Metrics of single endpoints: their number has a bound, and their sum is that of all endpoints."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from app.adapters.telemetry.metrics import PREFIX, PrometheusMeter
from app.adapters.telemetry.top_endpoints import ENDPOINT_METRICS, REVIEW_S, TopEndpoints
from tests.fakes.clock import FakeClock

NUMBER = 20
Samples = dict[str, dict[str, float]]


class Stage:
    """A meter with the metrics of single endpoints."""

    def __init__(self, number: int = NUMBER) -> None:
        self.clock = FakeClock()
        self.top = TopEndpoints(number, self.clock)
        self.meter = PrometheusMeter(self.top)

    def attempt(self, endpoint: str, *, ok: bool = True) -> None:
        self.top.attempted(endpoint, "acme", "live", ok=ok, seconds=0.5)

    async def pass_time(self) -> None:
        await self.clock.advance(REVIEW_S)

    def samples(self) -> Samples:
        """Metric → endpoint → value, as Prometheus scrapes them."""
        seen: Samples = defaultdict(dict)
        for family in text_string_to_metric_families(self.meter.exposition().decode()):
            for sample in family.samples:
                if "endpoint" in sample.labels:
                    seen[sample.name.removeprefix(PREFIX)][sample.labels["endpoint"]] = sample.value
        return seen


def test_attempts_failures_and_seconds_are_counted() -> None:
    stage = Stage()
    for ok in (True, False, True):
        stage.attempt("ep_a", ok=ok)
    assert stage.samples() == {
        "endpoint_attempts_total": {"other": 0, "ep_a": 3},
        "endpoint_failures_total": {"other": 0, "ep_a": 1},
        "endpoint_attempt_seconds_total": {"other": 0, "ep_a": 1.5},
    }
    assert 'hookstream_endpoint_attempts_total{endpoint="ep_a",mode="live",tenant="acme"} 3.0' in (
        stage.meter.exposition().decode().splitlines()
    )


async def test_a_hundred_thousand_endpoints_have_a_bounded_number_of_series() -> None:
    stage = Stage()
    made = 0
    for _ in range(3):
        for number in range(100_000):
            stage.attempt(f"ep_{number}", ok=number % 3 > 0)
            made += 1
            if number % 25_000 == 0:
                await stage.pass_time()
        samples = stage.samples()
        assert set(samples) == {metric.name for metric in ENDPOINT_METRICS}
        assert all(len(of_endpoint) <= NUMBER + 1 for of_endpoint in samples.values())
    assert sum(samples["endpoint_attempts_total"].values()) <= made


async def test_the_worst_endpoint_displaces_others_and_the_count_of_the_others_never_falls() -> None:
    stage = Stage(2)
    others = []
    for _ in range(4):
        for number in range(1000):
            stage.attempt(f"ep_{number}")
            if number % 100 == 0:
                stage.attempt("ep_dead", ok=False)
        await stage.pass_time()
        others.append(stage.samples()["endpoint_attempts_total"]["other"])
    assert stage.samples()["endpoint_failures_total"]["ep_dead"] >= 20
    assert others == sorted(others) and others[0] > 900


def test_without_the_setting_no_metric_has_an_endpoint() -> None:
    assert b"endpoint_attempts" not in PrometheusMeter().exposition()
