"""Time that moves when a test says so, chance that is a number, and a pulse to wait on instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush

from tests.patience import PATIENCE_S

#: loop passes after which everything that follows from one event has happened
_SETTLED = 30


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(_SETTLED):
        await asyncio.sleep(0)


class Pulse:
    """Something has changed: waiters look at their condition again."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def next(self) -> asyncio.Future[None]:
        """Done at the next beat."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def beat(self) -> None:
        """Wake all who wait."""
        woken, self._waiting = self._waiting, []
        for each in woken:
            if not each.done():
                each.set_result(None)

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        """Return when `condition` holds; looked at again at each beat."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                await self.next()


class FakeClock:
    """`app.ports.clock.Clock`: `advance` wakes sleepers one after the other; with `auto` each sleep advances
    it itself."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._us = now_ms * 1000
        self._wall_us = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = 0
        self.auto = False

    def now_ms(self) -> int:
        return (self._us + self._wall_us) // 1000

    def monotonic(self) -> float:
        return self._us / 1_000_000

    def jump(self, ms: int) -> None:
        """Somebody sets the wall clock; nobody wakes."""
        self._wall_us += ms * 1000

    async def sleep(self, seconds: float) -> None:
        wake_us = self._us + max(0, round(seconds * 1_000_000))
        if self.auto or wake_us == self._us:
            self._us = wake_us
            await asyncio.sleep(0)
            return
        self._serial += 1
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (wake_us, self._serial, sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Let that time pass, with everything that happens in it."""
        await settle()
        end_us = self._us + round(seconds * 1_000_000)
        while self._sleepers and self._sleepers[0][0] <= end_us:
            wake_us, _, sleeper = heappop(self._sleepers)
            if not sleeper.done():
                self._us = wake_us
                sleeper.set_result(None)
                await settle()
        self._us = end_us
        await settle()

    async def doze(self, seconds: float) -> None:
        """The machine sleeps for that long: all who should have woken wake once, at its end."""
        await settle()
        self._us += round(seconds * 1_000_000)
        while self._sleepers and self._sleepers[0][0] <= self._us:
            _, _, sleeper = heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
        await settle()


class FixedDice:
    """`app.ports.clock.Randomness` that always shows the same."""

    def __init__(self, shows: float = 0.0) -> None:
        self._shows = shows

    def roll(self) -> float:
        return self._shows
