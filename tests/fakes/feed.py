"""`app.ports.registry.DirectoryFeed` whose position a test moves."""

from __future__ import annotations

from collections.abc import Callable

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from tests.fakes.clock import Pulse


class MemoryFeed:
    """A directory, and how far the registry is said to have been read."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.directory = Directory()
        self.position = 0
        #: the fence stays closed until `open_fence`
        self.fenced = False
        #: the moments that fences were asked for
        self.fences: list[float | None] = []
        #: who waits at the fence or for a position
        self.waiting = 0
        self.pulse = Pulse()
        for endpoint in endpoints:
            self.directory.put_endpoint(endpoint)

    async def fence(self, since: float | None = None) -> None:
        self.fences.append(since)
        await self._until(lambda: not self.fenced)

    async def catch_up_after_reply(self) -> None:
        await self.fence()

    async def _until(self, condition: Callable[[], bool]) -> None:
        self.waiting += 1
        self.pulse.beat()
        try:
            await self.pulse.until(condition)
        finally:
            self.waiting -= 1

    def move(self, position: int) -> None:
        """The registry was read up to there."""
        self.position = position
        self.pulse.beat()

    def open_fence(self) -> None:
        """Everything was read."""
        self.fenced = False
        self.pulse.beat()

    async def waited_for(self) -> None:
        """Return when somebody waits."""
        await self.pulse.until(lambda: self.waiting > 0)
