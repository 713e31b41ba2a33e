"""What the Faust roles share: batches whose outputs are acknowledged while later batches are processed.

A batch is processed in *parts*, one after the other. The input of a part is committed when the part and all earlier
parts are acknowledged. A part may have *final records*: they are appended after everything else of the part is
acknowledged, in the order of the partition's parts, and the part is acknowledged only with them.

One part of all partitions is planned and appended at a time, in the order in which `next_part` was entered, and only
while there is room for it. So records that await acknowledgement are bounded by the limits below and one part,
independently of the number of partitions, and no partition waits for another partition's batch.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from app.core.errors import HookstreamError
from app.core.offsets.progress import RoleReport
from app.ports.producer import AckGroup, GroupingProducer
from app.ports.stream import StreamApp, StreamBatch, StreamPartition

#: Records and bytes that may await acknowledgement when the next part begins. Less than `GroupingProducer.room`
#: admits, so that one busy stream leaves room to the other roles of its process.
_MAX_RECORDS = 8000
_MAX_BYTES = 8 * 1024 * 1024


class _Part:
    __slots__ = ("done", "upto")

    def __init__(self, upto: int) -> None:
        self.upto = upto
        self.done = False


class PartedBatch:
    """A batch, and which of its parts are acknowledged."""

    def __init__(self, pipeline: AckPipeline, batch: StreamBatch) -> None:
        self._pipeline = pipeline
        self.batch = batch
        self._parts: deque[_Part] = deque()
        self._reached = batch.records[0].offset

    @contextmanager
    def outputs(self, upto: int, append_final: Callable[[AckGroup], None] | None = None) -> Iterator[AckGroup]:
        """The group for the outputs of the next part, which ends before the offset `upto`.

        `append_final` appends the part's final records.
        """
        part = _Part(upto)
        self._parts.append(part)
        with self._pipeline.part(self, part, append_final) as group:
            yield group

    def finished(self, part: _Part) -> int:
        """Mark a part as acknowledged. Returns the offset before which everything is."""
        part.done = True
        while self._parts and self._parts[0].done:
            self._reached = self._parts.popleft().upto
        return self._reached


class AckPipeline:
    """The parts of one worker's batches that await acknowledgement."""

    def __init__(self, producer: GroupingProducer) -> None:
        self._producer = producer
        self._records = self._bytes = 0
        self._fewer = asyncio.Event()
        self._planning = asyncio.Lock()
        self._waiting: set[asyncio.Task[None]] = set()
        #: partition number → lock that its parts take in order before they append final records
        self._final_order: dict[int, asyncio.Lock] = {}
        self._failed = False

    @asynccontextmanager
    async def next_part(self) -> AsyncIterator[None]:
        """Wait until one more part may be planned and appended; keep other partitions from it inside the block."""
        await asyncio.sleep(0)  # between two parts, other tasks run
        async with self._planning:
            while self._records >= _MAX_RECORDS or self._bytes >= _MAX_BYTES:
                self._fewer.clear()
                await self._fewer.wait()
            await self._producer.room()
            yield

    def parts(self, batch: StreamBatch) -> PartedBatch:
        """The batch, to be processed in parts."""
        return PartedBatch(self, batch)

    @contextmanager
    def outputs(self, batch: StreamBatch) -> Iterator[AckGroup]:
        """The group for the outputs of a whole batch, which is acknowledged when Kafka has all of them."""
        with self.parts(batch).outputs(batch.records[-1].offset + 1) as group:
            yield group

    @contextmanager
    def part(
        self, parts: PartedBatch, part: _Part, append_final: Callable[[AckGroup], None] | None
    ) -> Iterator[AckGroup]:
        """See `PartedBatch.outputs`."""
        acked, group = self._group()
        yield group
        group.close()
        parts.batch.begin()
        self._records += group.records
        self._bytes += group.size
        task = asyncio.create_task(self._finish(parts, part, acked, group, append_final))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Stop waiting for acknowledgements."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _group(self) -> tuple[asyncio.Future[None], AckGroup]:
        acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return acked, self._producer.bundle(lambda: _done(acked), lambda error: _failed(acked, error))

    async def _finish(
        self,
        parts: PartedBatch,
        part: _Part,
        acked: asyncio.Future[None],
        first: AckGroup,
        append_final: Callable[[AckGroup], None] | None,
    ) -> None:
        partition = parts.batch.partition
        try:
            if append_final is not None:
                # Tasks start in the order of the parts, and a lock is acquired in the order of the requests for it.
                async with self._final_order.setdefault(partition.number, asyncio.Lock()):
                    await acked
                    if self._failed or not partition.current:
                        return  # the partition's next owner reads the input again
                    acked, group = self._group()
                    append_final(group)
                    group.close()
            await acked
            await parts.batch.done(parts.finished(part))
        except HookstreamError as error:
            self._failed = True
            parts.batch.fail(error)
        finally:
            self._records -= first.records
            self._bytes -= first.size
            self._fewer.set()


class StreamRole(ABC):
    """A role on a Faust stream: a subclass handles batches and appends their outputs to the pipeline."""

    def __init__(self, make_app: Callable[[], StreamApp], producer: GroupingProducer) -> None:
        """`make_app` returns a fresh stream for each run."""
        self._make_app = make_app
        self._app: StreamApp | None = None
        self._pipeline = AckPipeline(producer)

    @abstractmethod
    async def _handle(self, batch: StreamBatch) -> None:
        """Process a batch. It may return before the outputs are acknowledged."""

    def _side_tasks(self, app: StreamApp) -> Sequence[Coroutine[None, None, None]]:
        """What runs beside the stream, as long as the role."""
        return ()

    def ready(self) -> str | None:
        """None when a new record would be processed, otherwise the reason why it would not."""
        return self._app.ready() if self._app else "starting"

    def report(self) -> RoleReport:
        """Progress for the watchdog: the oldest open batch was acknowledged, or the first one was read."""
        return self._app.report() if self._app else RoleReport(settling="starting")

    async def run(self) -> None:
        """Work until cancelled. Raises errors that a fresh instance may not have."""
        self._app = app = self._make_app()
        tasks = [asyncio.create_task(each) for each in (app.run(self._handle), *self._side_tasks(app))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._pipeline.close()


def write_table(partition: StreamPartition, table: str, items: Mapping[bytes, bytes | None], group: AckGroup) -> None:
    """Write to a table and to its changelog. A value of None removes the key."""
    if items:
        partition.write(table, items)
        changelog = partition.changelog(table)
        for key, value in items.items():
            group.append(changelog, key=key, value=value, partition=partition.number)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(future: asyncio.Future[None], error: HookstreamError) -> None:
    if not future.done():
        future.set_exception(error)
