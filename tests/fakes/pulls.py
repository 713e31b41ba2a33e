"""`app.ports.pulls.PullLog` over a log in memory, with few records of a scan."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from app.core.topics.names import TopicName
from app.ports.pulls import PullCommit, PullScan
from tests.fakes.clock import FakeClock
from tests.fakes.log import MemoryLog, MemoryRecord


class MemoryPulls:
    """The topic deliveries.pull of a log."""

    def __init__(self, log: MemoryLog, clock: FakeClock) -> None:
        self._log = log
        self._clock = clock
        #: partition → the first offset that retention has left
        self.begins: dict[int, int] = defaultdict(int)
        #: endpoint → partition → commit
        self.commits: dict[str, dict[int, PullCommit]] = defaultdict(dict)
        self.max_scanned = 10
        self.scans = 0

    def _records(self, partition: int) -> list[MemoryRecord]:
        return self._log.partitions[TopicName.DELIVERIES_PULL, partition]

    async def scan(self, partition: int, offset: int, *, key: bytes, limit: int, max_bytes: int) -> PullScan:
        self.scans += 1
        records, begin = self._records(partition), self.begins[partition]
        start = offset if begin <= offset <= len(records) else begin
        found: list[MemoryRecord] = []
        position = start
        for record in records[start : start + self.max_scanned]:
            if len(found) >= limit or sum(len(each.value or b"") for each in found) >= max_bytes:
                break
            found += [record] if record.key == key else []
            position = record.offset + 1
        return PullScan(records=found, next_offset=position, begin=begin, end=len(records), truncated=start != offset)

    async def offset_at(self, partition: int, timestamp_ms: int) -> int:
        records = self._records(partition)
        return next((each.offset for each in records if each.timestamp >= timestamp_ms), len(records))

    async def end(self, partition: int) -> int:
        return len(self._records(partition))

    async def grown(self, partition: int, end: int, timeout_s: float) -> bool:
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        grown = asyncio.ensure_future(self._log.pulse.until(lambda: len(self._records(partition)) > end))
        done, waiting = await asyncio.wait([timer, grown], return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        return grown in done

    async def committed(self, endpoint_id: str) -> dict[int, PullCommit]:
        return self.commits[endpoint_id]

    async def commit(self, endpoint_id: str, partition: int, offset: int) -> None:
        self.commits[endpoint_id][partition] = PullCommit(offset=offset, at_ms=self._clock.now_ms())
