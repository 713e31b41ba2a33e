"""A consumer group over topics in memory: `app.ports.consumer.GroupConsumer`, rebalanced by a test or, with
`auto`, by itself."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from math import inf

from app.core.offsets.partitions import CommittedOffset, PartitionId
from app.ports.clock import Clock
from app.ports.consumer import RebalanceListener
from tests.fakes.log import MemoryLog, MemoryRecord


class MemoryGroup:
    """Committed offsets and members of one group."""

    def __init__(self, log: MemoryLog, topics: list[str], clock: Clock, *, auto: bool = False) -> None:
        """`auto`: members share all partitions, as Kafka's eager protocol does it; else tests assign and revoke."""
        self.log = log
        self.clock = clock
        self.auto = auto
        self.committed: dict[PartitionId, CommittedOffset] = {}
        #: answer the next commits with "not now"
        self.refusing = False
        self._topics = topics
        self._members: list[MemorySource] = []
        self._turn = asyncio.Lock()

    def member(self) -> MemorySource:
        """One more, not yet started."""
        return MemorySource(self)

    def offset(self, place: PartitionId) -> int | None:
        """What is committed of a partition."""
        return self.committed[place].offset if place in self.committed else None

    async def joined(self, member: MemorySource) -> None:
        """Give partitions to a member too."""
        async with self._turn:
            await self._share([*self._members, member])

    async def left(self, member: MemorySource) -> None:
        """Give a member's partitions to the others."""
        async with self._turn:
            await self._share([each for each in self._members if each is not member])

    async def _share(self, members: list[MemorySource]) -> None:
        for each in self._members:
            await each.revoke(*each.assignment)
        self._members = members
        shares: dict[MemorySource, list[PartitionId]] = defaultdict(list)
        places = [(topic, number) for topic in self._topics for number in range(self.log.count)]
        for serial, place in enumerate(places if members else []):
            shares[members[serial % len(members)]].append(place)
        for each, share in shares.items():
            await each.assign(*share)


class MemorySource:
    """One member."""

    def __init__(self, group: MemoryGroup) -> None:
        self._group = group
        self._listener: RebalanceListener | None = None
        self._positions: dict[PartitionId, int] = {}
        self._joining: asyncio.Task[None] | None = None
        self.paused: set[PartitionId] = set()
        #: records that were handed out
        self.polled = 0
        self.running = False
        #: see `app.ports.consumer.GroupConsumer.lease_s`
        self.lease = inf
        #: nobody knows what is read next
        self.lost_position = False

    @property
    def assignment(self) -> set[PartitionId]:
        """The partitions that are ours now."""
        return set(self._positions)

    async def start(self, listener: RebalanceListener) -> None:
        self._listener = listener
        self.running = True
        if self._group.auto:
            self._joining = asyncio.create_task(self._group.joined(self))

    async def stop(self) -> None:
        self.running = False
        if self._joining is not None:
            await self._joining
            self._positions.clear()
            await self._group.left(self)

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> dict[PartitionId, list[MemoryRecord]]:
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(self._group.clock.sleep(timeout_ms / 1000))
        try:
            while not (batches := self._fetched(max_records)) and not waiting.done():
                change = self._group.log.pulse.next()
                await asyncio.wait([waiting, change], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return batches

    def _fetched(self, max_records: int | None) -> dict[PartitionId, list[MemoryRecord]]:
        batches = {}
        for place, position in self._positions.items():
            if place not in self.paused and (records := self._group.log.partitions[place][position:][:max_records]):
                batches[place] = records
                self._positions[place] = records[-1].offset + 1
                self.polled += len(records)
                max_records = max_records and max_records - len(records)
                if max_records == 0:
                    break
        return batches

    async def commit(self, offsets: Mapping[PartitionId, tuple[int, str]]) -> bool:
        await asyncio.sleep(0)
        if self._group.refusing or not set(offsets) <= self.assignment:
            return False
        self._group.committed |= {place: CommittedOffset(*position) for place, position in offsets.items()}
        return True

    async def ends(self, places: Collection[PartitionId]) -> dict[PartitionId, int]:
        return {place: len(self._group.log.partitions[place]) for place in places}

    def lease_s(self) -> float:
        return self.lease

    def position(self, place: PartitionId) -> int | None:
        return None if self.lost_position else self._positions.get(place)

    def pause(self, *places: PartitionId) -> None:
        self.paused |= set(places)

    def resume(self, *places: PartitionId) -> None:
        self.paused -= set(places)
        self._group.log.pulse.beat()

    # --- for tests and the group --------------------------------------------------------------------------------

    async def assign(self, *places: PartitionId) -> None:
        """These are the member's: the listener hears of it, then reading begins at what is committed."""
        assert self._listener is not None
        known = {place: self._group.committed.get(place, CommittedOffset(None, "")) for place in places}
        await self._listener.assigned(known)
        self._positions |= {place: said.offset or 0 for place, said in known.items()}
        self.paused -= set(places)
        self._group.log.pulse.beat()

    async def revoke(self, *places: PartitionId) -> None:
        """These are the member's no more: reading ends, then the listener hears of it and may still commit."""
        assert self._listener is not None
        held = self.paused
        self.paused = held | set(places)
        await self._listener.revoked(set(places))
        self.paused = held - set(places)
        for place in places:
            self._positions.pop(place, None)
