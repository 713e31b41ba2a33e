"""Time and randomness."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time and waiting. Roles have no other source of time."""

    def now_ms(self) -> int:
        """Wall clock in milliseconds since the epoch; may step when the host's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds` (a negative or zero value yields once). Cancellable."""
        ...


class Randomness(Protocol):
    """Random numbers, for jitter."""

    def roll(self) -> float:
        """A number in [0, 1)."""
        ...
