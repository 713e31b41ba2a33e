"""The real clock and random numbers; no other module reads them."""

from __future__ import annotations

import asyncio
import random
import time


class SystemClock:
    """`app.ports.clock.Clock` on the host's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """See `app.ports.clock.Clock`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(0.0, seconds))


class SystemDice:
    """`app.ports.clock.Randomness` seeded by the operating system; used for jitter only."""

    def __init__(self) -> None:
        self._random = random.Random()

    def roll(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
