"""What `.cache/bench.json` has: the latest measurement of each part, and under which circumstances it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from tests.bench import curves, growth, pipeline, registry, scale, wide
from tests.bench.circumstances import Circumstances
from tests.bench.everyday import Everyday
from tests.bench.stage import Run

FILE = Path(".cache/bench.json")


class Results(msgspec.Struct, kw_only=True):
    """The parts from which goals are judged; a part that was not measured is empty."""

    dispatch: dict[str, list[Run]] = {}
    fanout: dict[str, list[Run]] = {}
    everyday: Everyday | None = None
    pipeline: list[pipeline.Report] = []
    registry: list[registry.Report] = []
    wide: wide.Wide | None = None
    growth: list[growth.Crowd] = []
    curves: curves.Curves | None = None
    scale: scale.Scale | None = None
    #: by part
    circumstances: dict[str, Circumstances] = {}


class Spread(NamedTuple):
    """Several runs of one value."""

    low: float
    middle: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """The least, the median and the greatest of at least one value."""
    ordered = sorted(values)
    return Spread(ordered[0], median(ordered), ordered[-1])


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Each value of ours divided by the other one of the same run."""
    return [own / other for own, other in zip(ours, others, strict=True)]


def each(runs: Iterable[Any], value: Callable[[Any], float]) -> list[float]:
    """One value of each run."""
    return [value(run) for run in runs]


def load(file: Path = FILE) -> Results:
    """The measurements of a file; parts that this version does not know are ignored."""
    return msgspec.json.decode(file.read_bytes(), type=Results)


def save(part: str, value: object, circumstances: Circumstances, file: Path = FILE) -> None:
    """Replace one part of the file, and leave the others."""
    stored: dict[str, Any] = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    stored[part] = value
    stored.setdefault("circumstances", {})[part] = circumstances
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(stored)))
