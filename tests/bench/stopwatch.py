"""A meter that also stops the time: from the role's first assignment to its N-th counted unit."""

from __future__ import annotations

import asyncio
import time

from app.adapters.telemetry.metrics import PrometheusMeter


class Stopwatch(PrometheusMeter):
    """The product's own meter; `name` with the label `value` is what is counted."""

    def __init__(self, name: str, value: str, until: int) -> None:
        super().__init__()
        self._name, self._value, self._until = name, value, until
        self._units = 0.0
        self.started = asyncio.Event()
        self.done = asyncio.Event()
        self.begun = self.begun_cpu = self.ended = self.ended_cpu = 0.0

    def start(self) -> None:
        """The clock runs."""
        self.begun, self.begun_cpu = time.perf_counter(), time.process_time()
        self.started.set()

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """See `app.ports.metrics.Meter`."""
        super().count(name, value, **labels)
        if name == "rebalances_total" and not self.started.is_set():
            self.start()
        elif name == self._name and self._value in labels.values():
            self._units += value
            if self._units >= self._until and not self.done.is_set():
                self.ended, self.ended_cpu = time.perf_counter(), time.process_time()
                self.done.set()

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.ended - self.begun

    @property
    def cpu_seconds(self) -> float:
        """CPU time of this process."""
        return self.ended_cpu - self.begun_cpu


async def until(done: asyncio.Event, role: asyncio.Task[None], seconds: float) -> None:
    """Wait for the event; fails with the role, or when it takes too long."""
    waiting = asyncio.create_task(done.wait())
    await asyncio.wait([waiting, role], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if role.done():
        role.result()
    assert done.is_set(), f"not finished within {seconds:.0f} s"
