"""What roles need from the outside world, one to three verbs each; adapters implement, fakes stand in."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from typing import Protocol

from app.core.exchange import Outcome, PreparedRequest

Headers = Sequence[tuple[str, bytes]]


class Clock(Protocol):
    """Wall time and waiting. The only source of "now" for roles."""

    def now_ms(self) -> int:
        """Wall clock in milliseconds since the epoch; may step when the host's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds` (a negative or zero value yields once). Cancellable."""
        ...


class Dice(Protocol):
    """Chance, for jitter."""

    def roll(self) -> float:
        """A number in [0, 1)."""
        ...


class Log(Protocol):
    """Append to topics. Success means: acknowledged by all in-sync replicas."""

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> Future[None]:
        """Enqueue one record; blocks only while the buffer is full.

        The future resolves at the broker's acknowledgement. Broker outages are retried inside for ever (records may
        then be there twice, never missing); the future fails only for what a retry cannot repair (record too large,
        topic missing), and then with a `HookstreamError`.
        """
        ...


class Sender(Protocol):
    """Make one HTTP exchange with a customer's endpoint."""

    async def send(self, request: PreparedRequest) -> Outcome:
        """Send and read the answer; returns within `request.timeout_s` (+ 100 ms).

        Never raises for anything that the network or the receiver does; cancellation closes the connection.
        Returning a `Refusal` does not mean that the receiver has not processed the request.
        """
        ...


class Meter(Protocol):
    """Count and measure; never blocks, never raises. Names and labels are the table in adapters/metrics.py."""

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation (seconds, bytes or a plain number) to a histogram."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...
