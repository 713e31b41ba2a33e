"""What members of a consumer group share: the partitions that they have, and commits soon after work is finished."""

from __future__ import annotations

import asyncio

from app.core.offsets.partitions import OpenPartitions
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer

#: what a crash repeats of the finished is what this time brings
_COMMIT_AFTER_S = 0.1
_ASK_S = 0.05


class Committer:
    """The partitions of one member of a group, and their commits."""

    def __init__(self, source: GroupConsumer, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        #: something was finished since the last commit
        self._unsaved = asyncio.Event()
        self.partitions = OpenPartitions(self._unsaved.set)

    def sure(self) -> bool:
        """Whether nobody else can have our partitions; a process that stood still does not know it at first."""
        return self._clock.monotonic() < self._source.lease_s()

    async def certainty(self) -> None:
        """Return when the group has answered: what was taken from us meanwhile is marked by then."""
        while not self.sure():
            await self._clock.sleep(_ASK_S)

    async def run(self) -> None:
        """Commit until cancelled; at rest it does nothing."""
        while True:
            await self._unsaved.wait()
            await self._clock.sleep(_COMMIT_AFTER_S)
            self._unsaved.clear()
            if not await self.commit():
                self._unsaved.set()

    async def commit(self) -> bool:
        """Commit what is due; False: not now, say it again."""
        positions = self.partitions.commits()
        if positions and not await self._source.commit(positions):
            return False
        self.partitions.committed(positions)
        return True
