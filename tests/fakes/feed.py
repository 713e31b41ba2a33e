"""`app.ports.registry.DirectoryFeed` whose position a test moves."""

from __future__ import annotations

from collections.abc import Callable

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from tests.fakes.clock import Pulse


class MemoryFeed:
    """A directory, and the position up to which the registry has been read."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.directory = Directory()
        self.position = 0
        #: while true, `catch_up` waits until `open`
        self.blocked = False
        #: the argument of each call of `catch_up`
        self.caught_up_to: list[float | None] = []
        #: calls that wait
        self.waiting = 0
        self.pulse = Pulse()
        for endpoint in endpoints:
            self.directory.put_endpoint(endpoint)

    async def catch_up(self, since: float | None = None) -> None:
        self.caught_up_to.append(since)
        await self._until(lambda: not self.blocked)

    async def catch_up_after_reply(self) -> None:
        await self.catch_up()

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

    def open(self) -> None:
        """Everything was read."""
        self.blocked = False
        self.pulse.beat()

    async def waited_for(self) -> None:
        """Return when somebody waits."""
        await self.pulse.until(lambda: self.waiting > 0)
