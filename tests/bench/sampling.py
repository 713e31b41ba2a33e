"""Where CPU time goes: a sampling profiler, which does not slow small functions down as a tracing one does."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType

_INTERVAL_S = 0.001
_SHOWN = 25


class Samples:
    """Stacks seen at every millisecond of CPU time."""

    def __init__(self) -> None:
        self._functions: Counter[str] = Counter()
        self._parts: Counter[str] = Counter()
        self._total = 0

    def take(self, _: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        if frame is None:
            return
        self._total += 1
        self._functions[f"{_place(frame)}:{frame.f_lineno} {frame.f_code.co_qualname}"] += 1
        self._parts[_part(frame)] += 1

    def text(self, count: int, cpu_seconds: float) -> str:
        """Microseconds of CPU for each of `count` units: by part of the product, then by line."""
        scale = cpu_seconds / count * 1e6 / max(1, self._total)
        lines = [f"{'µs each':>8}  by the innermost file of ours ({self._total} samples)"]
        lines += [f"{number * scale:8.2f}  {name}" for name, number in self._parts.most_common(_SHOWN)]
        lines += [f"{'µs each':>8}  by line"]
        lines += [f"{number * scale:8.2f}  {name}" for name, number in self._functions.most_common(_SHOWN)]
        return "\n".join(lines)


@contextmanager
def sampled(wanted: bool) -> Iterator[Samples]:
    """Sample while the context lasts, if wanted. In the main thread only."""
    samples = Samples()
    if wanted:
        signal.signal(signal.SIGPROF, samples.take)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)
    try:
        yield samples
    finally:
        if wanted:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _place(frame: FrameType) -> str:
    return "/".join(PurePath(frame.f_code.co_filename).parts[-2:])


def _part(frame: FrameType) -> str:
    """The innermost file of ours that is not this one; else the library at the bottom of the stack."""
    seen: FrameType | None = frame
    outermost = frame
    while seen is not None:
        parts = PurePath(seen.f_code.co_filename).parts
        if "app" in parts and "site-packages" not in parts:
            return "/".join(parts[parts.index("app") :])
        if "site-packages" in parts and "uvloop" not in parts:
            outermost = seen
        seen = seen.f_back
    parts = PurePath(outermost.f_code.co_filename).parts
    if "site-packages" in parts:
        return "in the background: " + "/".join(parts[parts.index("site-packages") + 1 :])
    return "event loop"
