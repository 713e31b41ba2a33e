"""`app.ports.history.RecordReader` over topics in memory."""

from __future__ import annotations

from collections.abc import Collection

from tests.fakes.log import MemoryLog, MemoryRecord


class MemoryRecords:
    """Reads what the log holds, but for what a test has let expire."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        #: (topic, partition) → the first offset that retention has left
        self.begins: dict[tuple[str, int], int] = {}

    async def records(self, topic: str, spots: Collection[tuple[int, int]]) -> dict[tuple[int, int], MemoryRecord]:
        found = {}
        for number, offset in spots:
            kept = self._log.partitions[topic, number]
            if self.begins.get((topic, number), 0) <= offset < len(kept):
                found[number, offset] = kept[offset]
        return found
