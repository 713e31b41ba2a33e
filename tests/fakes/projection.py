"""A read model that only remembers what was written: `app.ports.readmodel.ProjectionStore`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from app.core.errors import Defect, LogMoved, Unavailable
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import ProjectionBatch
from app.ports.readmodel import OffsetAdvance
from tests.fakes.clock import Pulse
from tests.fakes.log import MemoryRecord
from tests.fakes.source import MemoryGroup, MemorySource


class MemoryProjection:
    """What has been written, and offsets; a test may break it."""

    def __init__(self) -> None:
        self.next: dict[PartitionId, int] = {}
        #: ids of deliveries, one for each fact
        self.written: list[str] = []
        self.transactions = 0
        self.pruned: list[int] = []
        #: tenants whose deletion the audit log had before, with its time
        self.deletions: list[tuple[str, int]] = []
        #: steps of removing a tenant's rows: tenant and time
        self.removed: list[tuple[str, int]] = []
        #: steps of removing old rows of a tenant: tenant and time
        self.outdated: list[tuple[str, int]] = []
        self.unavailable: str | None = None
        #: a delivery that the database does not take
        self.poison: str | None = None
        self.is_closed = False
        self.pulse = Pulse()

    def _look(self) -> None:
        self.pulse.beat()
        if self.unavailable is not None:
            raise Unavailable(self.unavailable)

    async def prepare(self) -> None:
        self._look()

    async def offsets(self, places: Collection[PartitionId]) -> Mapping[PartitionId, int]:
        self._look()
        return {place: self.next.setdefault(place, 0) for place in places}

    async def write(self, portion: ProjectionBatch, moved: Mapping[PartitionId, OffsetAdvance]) -> bool:
        self._look()
        if any(self.next.get(place) != to.begin for place, to in moved.items()):
            return False
        if self.poison in [fact.id for fact in portion.facts]:
            raise Defect("no value for us")
        self.next |= {place: to.next for place, to in moved.items()}
        self.written += [fact.id for fact in portion.facts]
        self.transactions += 1
        self.pulse.beat()
        return True

    async def prune(self, before_ms: int, *, audit_before_ms: int, limit: int) -> int:
        self._look()
        self.pruned.append(before_ms)
        return limit if len(self.pruned) == 1 else 0

    async def deleted_tenants(self) -> Sequence[tuple[str, int]]:
        self._look()
        return self.deletions

    async def remove_tenant(self, tenant: str, until_ms: int, *, limit: int) -> int:
        self._look()
        self.removed.append((tenant, until_ms))
        self.pulse.beat()
        return limit if len(self.removed) == 1 else 0

    async def remove_old(self, tenant: str, before_ms: int, *, limit: int) -> int:
        self._look()
        self.outdated.append((tenant, before_ms))
        self.pulse.beat()
        return limit if len(self.outdated) == 1 else 0

    async def clear(self) -> None:
        self.next.clear()
        self.written.clear()

    async def close(self) -> None:
        self.is_closed = True


class SeekingMemorySource(MemorySource):
    """`app.ports.consumer.SeekableConsumer`: what is assigned stays paused until it is resumed."""

    def __init__(self, group: MemoryGroup) -> None:
        super().__init__(group)
        self.sought: list[tuple[PartitionId, int]] = []
        #: what the next poll finds
        self.moved: LogMoved | None = None

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> dict[PartitionId, list[MemoryRecord]]:
        if self.moved is not None:
            raise self.moved
        return await super().poll(timeout_ms=timeout_ms, max_records=max_records)

    async def assign(self, *places: PartitionId) -> None:
        await super().assign(*places)
        self.paused |= set(places)

    def seek(self, place: PartitionId, offset: int) -> None:
        assert place in self._positions
        self._positions[place] = offset
        self.sought.append((place, offset))
