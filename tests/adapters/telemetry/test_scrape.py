"""A scrape reads memory and /proc: it waits for nothing, opens no connection, and its size has a bound."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import prometheus_client

from app.adapters.telemetry import top_endpoints
from app.adapters.telemetry.metrics import METRICS, PrometheusMeter
from tests.fakes.clock import FakeClock

#: whose Python code a scrape may run
_OWN = (str(Path(prometheus_client.__file__).parent), str(Path(top_endpoints.__file__).parent))
#: parts of Python's library that speak to something else, or wait for it
_FOREIGN = ("socket", "_socket", "ssl", "_ssl", "sqlite3", "_sqlite3", "asyncio", "_asyncio", "select", "subprocess")
#: modules of the library that rendering numbers and texts needs
_LIBRARY = str(Path(inspect.__file__).parent)


def _filled() -> PrometheusMeter:
    """A meter with every metric, and as many endpoints as the setting allows."""
    top = top_endpoints.TopEndpoints(100, FakeClock())
    meter = PrometheusMeter(top)
    for number in range(1000):
        top.attempted(f"ep_{number}", "acme", "live", ok=number % 2 == 0, seconds=0.1)
    for metric in METRICS:
        if metric.name == "build_info":
            continue
        labels = dict.fromkeys(metric.labels, "x")
        measure: Callable[..., None] = {"counter": meter.count, "gauge": meter.gauge}.get(metric.kind, meter.observe)
        measure(metric.name, 1.0, **labels)
    return meter


class _Calls:
    """The files of Python code and the modules of C code that are called."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.modules: set[str] = set()

    def __enter__(self) -> _Calls:
        gc.collect()
        gc.disable()  # finalizers of what other tests have left would be counted
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _look(self, frame: FrameType, kind: str, called: Any) -> None:
        if kind == "call":
            self.files.add(frame.f_code.co_filename)
        elif kind == "c_call":
            self.modules.add(getattr(called, "__module__", None) or type(called.__self__).__module__)


def test_a_scrape_runs_nothing_that_speaks_to_kafka_or_a_database() -> None:
    meter = _filled()
    assert not inspect.iscoroutinefunction(meter.exposition), "it could wait for something"
    with _Calls() as calls:
        text = meter.exposition()
    assert b"hookstream_endpoint_attempts_total" in text
    foreign = {file for file in calls.files if not file.startswith((*_OWN, _LIBRARY, "<", __file__))}
    packages = {file for file in calls.files if "site-packages" in file and not file.startswith(_OWN)}
    assert not foreign and not packages
    assert not {name for name in calls.modules if name.partition(".")[0] in _FOREIGN}


def test_the_largest_exposition_has_a_bounded_number_of_samples() -> None:
    lines = _filled().exposition().decode().splitlines()
    of_endpoints = [line for line in lines if line.startswith("hookstream_endpoint_") and 'endpoint="' in line]
    assert len(of_endpoints) == len(top_endpoints.ENDPOINT_METRICS) * 101
