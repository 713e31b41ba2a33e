"""What the consumer roles share: the partitions of a group member, its commits, and the life of its loops."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence

from app.core.offsets.commit_pace import SOON_S, CommitPace
from app.core.offsets.partitions import CommittedOffset, OpenPartitions, PartitionId
from app.core.offsets.progress import PartitionProgress, RoleReport
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer
from app.ports.metrics import Meter

_LEASE_CHECK_S = 0.05


class Committer:
    """The partitions of one member of a group, and their commits."""

    def __init__(self, source: GroupConsumer, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        #: set when something was finished since the last commit
        self._uncommitted = asyncio.Event()
        self._pace = CommitPace()
        self.partitions = OpenPartitions(self._finished)

    def sure(self) -> bool:
        """Whether the group's lease still guarantees that no other member has our partitions.

        After the process was suspended it does not, until the group has answered.
        """
        return self._clock.monotonic() < self._source.lease_s()

    async def certainty(self) -> None:
        """Wait until the group has answered. By then partitions that were revoked meanwhile are marked as such."""
        while not self.sure():
            await self._clock.sleep(_LEASE_CHECK_S)

    async def run(self) -> None:
        """Commit at the pace of `CommitPace`, until cancelled."""
        while True:
            await self._uncommitted.wait()
            await self._clock.sleep(SOON_S)
            while not self._pace.is_due(self._clock.monotonic()):
                await self._clock.sleep(SOON_S)
            self._uncommitted.clear()
            self._pace.committing(self._clock.monotonic())
            if not await self.commit():
                self._uncommitted.set()

    def _finished(self) -> None:
        self._pace.finished()
        self._uncommitted.set()

    async def commit(self) -> bool:
        """Commit due offsets. Returns False when the group cannot take commits now; call it again later."""
        positions = self.partitions.commits()
        if positions and not await self._source.commit(positions):
            return False
        self.partitions.committed(positions)
        return True


class ConsumerRole(ABC):
    """A role that reads as a member of a consumer group and finishes offsets in any order.

    A subclass names its loops and what ends with them. The role ends when one of the loops does, or with the first
    error that `_fail` was given.
    """

    #: the role's name, as a label of metrics
    _name: str

    def __init__(self, source: GroupConsumer, clock: Clock, meter: Meter) -> None:
        self._source = source
        self._clock = clock
        self._meter = meter
        self._committer = Committer(source, clock)
        self._partitions = self._committer.partitions
        self._failed: asyncio.Future[None] | None = None

    @abstractmethod
    def _loops(self) -> Sequence[Coroutine[None, None, None]]:
        """Everything that runs as long as the role, beside the commits."""

    @abstractmethod
    async def _drain(self) -> None:
        """End work in progress, within a bounded time, before the last commit."""

    @abstractmethod
    def _progress(self) -> Mapping[PartitionId, PartitionProgress]:
        """The progress of assigned partitions for the watchdog. It does not judge partitions that are left out."""

    def ready(self) -> str | None:
        """None when a new record would be processed, otherwise the reason why it would not."""
        return None if self._partitions.was_assigned else "waiting for the assignment of partitions"

    def report(self) -> RoleReport:
        """Progress for the watchdog."""
        return RoleReport(self._progress(), settling=self.ready(), assigned=len(self._partitions.places()))

    async def run(self) -> None:
        """Work until cancelled. Raises errors that a restart of the role may repair."""
        self._failed = failed = asyncio.get_running_loop().create_future()
        await self._source.start(self)
        loops = [asyncio.create_task(each) for each in (*self._loops(), self._committer.run())]
        try:
            await asyncio.wait([failed, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in loops:
                if task.done():
                    task.result()
            failed.result()
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._drain()
            try:
                await self._committer.commit()
            finally:
                await self._source.stop()
            if failed.done() and not failed.cancelled():
                failed.exception()  # retrieved, so that asyncio does not log it a second time

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        self._partitions.add(places)
        self._meter.count("rebalances_total", role=self._name)

    @abstractmethod
    async def revoked(self, places: set[PartitionId]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""

    def _has_failed(self) -> bool:
        return self._failed is not None and self._failed.done()

    def _fail(self, error: Exception) -> None:
        """End the role with this error; later errors are dropped."""
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
