"""Under which circumstances a part of the bench was measured: machine, time, and how much others disturbed it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

#: of the calculation that is the same each time
_STEPS, _TIMES = 1_000_000, 10


class Circumstances(msgspec.Struct, kw_only=True):
    """What a part was measured under."""

    at: str
    commit: str
    command: str
    cores: int
    processor: str
    memory_gib: int
    python: str
    #: of a minute, before the part
    load: float
    #: what a calculation takes that is always the same, in milliseconds, before and after the part
    calculation_ms: list[float]
    #: of the machine's time, withheld by the hypervisor during the part
    stolen_percent: float = 0.0


@contextmanager
def observed() -> Iterator[Circumstances]:
    """The circumstances of what is measured within; complete at its end."""
    seen = Circumstances(
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        commit=_commit(),
        command=" ".join(["python -m tests.bench", *sys.argv[1:]]),
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        python=platform.python_version(),
        load=os.getloadavg()[0],
        calculation_ms=[_calculation() for _ in range(_TIMES)],
    )
    before = _machine_times()
    yield seen
    passed = [late - early for late, early in zip(_machine_times(), before, strict=True)]
    seen.stolen_percent = passed[7] / max(1, sum(passed[:8])) * 100
    seen.calculation_ms += [_calculation() for _ in range(_TIMES)]


def _calculation() -> float:
    begun = time.perf_counter()
    for _ in range(_STEPS):
        pass
    return (time.perf_counter() - begun) * 1000


def _machine_times() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq, steal, …"""
    return [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
