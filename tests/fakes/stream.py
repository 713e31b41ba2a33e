"""A stream processor in memory: `app.ports.stream.StreamApp`, `StreamBatch` and `StreamPartition` that a
test drives."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from app.core.errors import HookstreamError
from app.core.offsets.progress import RoleReport
from app.ports.consumer import Record
from app.ports.stream import StreamBatch
from tests.fakes.clock import Pulse


class MemoryPartition:
    """`app.ports.stream.StreamPartition`."""

    def __init__(self, number: int = 0, *, start: int = 0, was_reset: bool = False) -> None:
        self.number = number
        self.start = start
        self.was_reset = was_reset
        self.moved = False
        self.current = True
        self.leaving = False
        self.tables: dict[str, dict[bytes, bytes]] = defaultdict(dict)

    def read(self, table: str, key: bytes) -> bytes | None:
        return self.tables[table].get(key)

    def scan(self, table: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted(item for item in self.tables[table].items() if item[0].startswith(prefix))

    def write(self, table: str, items: Mapping[bytes, bytes | None]) -> None:
        for key, value in items.items():
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value

    def changelog(self, table: str) -> str:
        return f"{table}-changelog"


class MemoryBatch:
    """`app.ports.stream.StreamBatch`, which remembers how it ended."""

    def __init__(self, app: MemoryStreamApp, partition: MemoryPartition, records: Sequence[Record]) -> None:
        self._app = app
        self.partition = partition
        self.records = records
        self.polled_at = float(len(app.batches))
        self.acked = False
        #: everything is acknowledged that the records before it cause, as it was said
        self.reached: list[int] = []
        #: parts that have begun and not ended
        self.open = 0
        self.failure: HookstreamError | None = None

    def begin(self) -> None:
        self.open += 1

    async def done(self, reached: int) -> None:
        self.open -= 1
        self.reached.append(reached)
        self.acked = reached > self.records[-1].offset
        self._app.pulse.beat()

    def fail(self, error: HookstreamError) -> None:
        self.failure = error
        self._app.pulse.beat()


class MemoryStreamApp:
    """`app.ports.stream.StreamApp` over batches that a test gives."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        #: all batches given so far
        self.batches: list[MemoryBatch] = []
        #: assigned before their first batch
        self.partitions: list[MemoryPartition] = []
        self._handed = 0
        self._running = False
        self._ended: BaseException | None = None

    async def run(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        self._running = True
        handing = asyncio.create_task(self._hand_out(handle))
        try:
            while not (handing.done() or any(batch.failure for batch in self.batches)):
                await asyncio.wait([handing, self.pulse.next()], return_when=asyncio.FIRST_COMPLETED)
            if handing.done():
                handing.result()
            raise next(batch.failure for batch in self.batches if batch.failure)
        except Exception as error:
            self._ended = error
            raise
        finally:
            self.pulse.beat()
            handing.cancel()
            await asyncio.gather(handing, return_exceptions=True)

    async def _hand_out(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        lanes: dict[int, tuple[asyncio.Queue[MemoryBatch], asyncio.Task[None]]] = {}
        try:
            while True:
                while self._handed < len(self.batches):
                    batch = self.batches[self._handed]
                    self._handed += 1
                    number = batch.partition.number
                    if number not in lanes:
                        queue: asyncio.Queue[MemoryBatch] = asyncio.Queue()
                        lanes[number] = queue, asyncio.create_task(_work(queue, handle))
                    lanes[number][0].put_nowait(batch)
                waiting = asyncio.ensure_future(self.pulse.next())
                await asyncio.wait([waiting, *(lane for _, lane in lanes.values())], return_when="FIRST_COMPLETED")
                for _, lane in lanes.values():
                    if lane.done():
                        lane.result()
                await waiting
        finally:
            for _, lane in lanes.values():
                lane.cancel()

    def assigned(self) -> list[MemoryPartition]:
        return list(dict.fromkeys([*self.partitions, *(batch.partition for batch in self.batches)]))

    def ready(self) -> str | None:
        return None if self._running else "recovering"

    def report(self) -> RoleReport:
        return RoleReport(settling=self.ready())

    def give(self, partition: MemoryPartition, *records: Record) -> MemoryBatch:
        """All records of one partition of one poll."""
        batch = MemoryBatch(self, partition, records)
        self.batches.append(batch)
        self.pulse.beat()
        return batch

    async def acked(self, batch: MemoryBatch) -> None:
        """Wait until the batch is acknowledged; raises what ended the run before."""
        await self.pulse.until(lambda: batch.acked or self._ended is not None)
        if not batch.acked and self._ended is not None:
            raise self._ended


async def _work(queue: asyncio.Queue[MemoryBatch], handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
    while True:
        await handle(await queue.get())
