"""Our histograms expose what prometheus-client's own expose for the same observations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.adapters.telemetry.histograms import HistogramFamily

BOUNDS = (0.001, 0.5, 1.0, 15.0)
OBSERVATIONS = st.lists(
    st.tuples(st.sampled_from(["sent", 'a "quoted" one']), st.sampled_from(BOUNDS) | st.floats(0, 400))
)


def exposed(registry: CollectorRegistry) -> set[str]:
    """The lines; the stock histogram has one more for the time of its creation."""
    lines = generate_latest(registry).decode().splitlines()
    return {line for line in lines if "_created" not in line}


@given(OBSERVATIONS)
def test_labelled(observations: list[tuple[str, float]]) -> None:
    ours, stock = CollectorRegistry(), CollectorRegistry()
    family = HistogramFamily("x_seconds", "A duration.", ("result",), BOUNDS)
    ours.register(family)
    expected = Histogram("x_seconds", "A duration.", ("result",), buckets=BOUNDS, registry=stock)
    for label, value in observations:
        family.labels(result=label).observe(value)
        expected.labels(result=label).observe(value)
    assert exposed(ours) == exposed(stock)


@given(st.lists(st.floats(0, 400)))
def test_without_labels(values: list[float]) -> None:
    ours, stock = CollectorRegistry(), CollectorRegistry()
    family = HistogramFamily("x_seconds", "A duration.", (), BOUNDS)
    ours.register(family)
    expected = Histogram("x_seconds", "A duration.", buckets=BOUNDS, registry=stock)
    for value in values:
        family.labels().observe(value)
        expected.observe(value)
    assert exposed(ours) == exposed(stock)
