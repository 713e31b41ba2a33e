"""Endpoints that a round has beside its own, for the faults that act through receivers: the others must not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

#: one in ten of the round's events
SOME = frozenset({"order.closed"})
NAMES, WIDE, BURSTS, BURST = 40, 200, 4, 3


async def slow(scene: Any) -> None:
    """Receivers that take seconds; of one of them each key waits for the one ahead."""
    await scene.endpoint("slow", types=SOME, timeout=10, takes_s=4.0, exactly=True)
    await scene.endpoint("slow-flaky", types=SOME, timeout=10, takes_s=2.0, exactly=True, flaky=0.5)
    await scene.endpoint("slow-ordered", types=SOME, fifo=True, timeout=10, takes_s=1.5, exactly=True)


async def names(scene: Any) -> None:
    """Hosts that nobody knows."""
    for number in range(NAMES):
        url = f"http://nobody-{number}.hookstream.invalid:8080/"
        await scene.endpoint(f"name{number}", types=SOME, url=url, watched=False)


async def hostile(scene: Any) -> None:
    """A receiver whose answers no server should give; some of them say that it has the event."""
    for number in range(3):
        await scene.endpoint(f"hostile{number}", types=SOME, flaky=0.5, failures=2, hostile=True)


async def wide(scene: Any) -> None:
    """Hundreds of endpoints for one type."""
    for begin in range(0, WIDE, 10):
        await asyncio.gather(
            *(
                scene.endpoint(f"wide{number}", types=frozenset({"wide.x"}), timeout=5)
                for number in range(begin, begin + 10)
            )
        )


async def bursts(scene: Any) -> None:
    """A few of its events at once, now and then."""
    for burst in range(BURSTS):
        await asyncio.gather(
            *(
                scene.stage.send(scene.event(f"{scene.tenant}-w{burst}-{number}", "wide.x"), "wide")
                for number in range(BURST)
            )
        )
        await asyncio.sleep(0.5)


Guest = Callable[[Any], Awaitable[None]]
ENDPOINTS: dict[str, Guest] = {
    "slow receivers": slow,
    "names that do not resolve": names,
    "hostile receiver": hostile,
    "wide fan-out": wide,
}
TRAFFIC: dict[str, Guest] = {"wide fan-out": bursts}
