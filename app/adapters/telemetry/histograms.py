"""Histograms whose observations take no lock; those of prometheus-client take two locks each.

An attempt makes six observations, which with locks cost a delivery as much as its signature.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Histogram:
    """The observations of one combination of labels; used from the event loop's thread only."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: the upper bounds of the buckets, ascending, without infinity."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add cumulative buckets and the sum to a family, as Prometheus expects them."""
        names = map(floatToGoString, (*self._bounds, inf))
        family.add_metric(labels, list(zip(names, accumulate(self._counts), strict=True)), self._sum)


class HistogramFamily(Collector):
    """A histogram of the table of metrics, with a `Histogram` for each combination of labels."""

    def __init__(self, name: str, sentence: str, label_names: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        """See `app.adapters.telemetry.metrics.Metric`; without labels there is one `Histogram` from the start."""
        self._name = name
        self._sentence = sentence
        self._label_names = label_names
        self._bounds = bounds
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        if not label_names:
            self.labels()

    def labels(self, **labels: str) -> Histogram:
        """The histogram of these labels; raises `ValueError` when their names are not the family's."""
        if labels.keys() != set(self._label_names):
            raise ValueError(f"labels {sorted(labels)} instead of {sorted(self._label_names)}")
        return self._histograms.setdefault(tuple(labels[name] for name in self._label_names), Histogram(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The samples for an exposition by prometheus-client."""
        family = HistogramMetricFamily(self._name, self._sentence, labels=self._label_names)
        for labels, histogram in self._histograms.items():
            histogram.add_to(family, labels)
        yield family
