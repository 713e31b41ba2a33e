"""What roles on a stream share: batches whose outputs are awaited while the next ones are worked on, within bounds.

A batch is worked on in *parts*, one after the other; what its records cause up to a part's end may be committed when
that part and all before it are acknowledged. A part may have *last words*: records that are appended when everything
else that it causes is acknowledged, in the order of the partition's parts. They count for its acknowledgement like the
others.

One part of all partitions is planned and appended at a time, when there is room for it: whoever wants to go on takes a
`turn`, and turns are given in the order in which they were asked for. So what waits for acknowledgements is bounded by
the pipe's own limits and one part, however many partitions there are, and none of them waits for another's batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from app.core.errors import HookstreamError
from app.ports.producer import AckGroup, GroupingProducer
from app.ports.stream import StreamBatch, StreamPartition

#: records and bytes that may wait for acknowledgements before another part is begun: fewer than what `BundleLog.room`
#: allows, so that a busy stream does not take the room from the other roles of its process
_MOST_RECORDS = 8000
_MOST_BYTES = 8 * 1024 * 1024


class _Part:
    __slots__ = ("done", "upto")

    def __init__(self, upto: int) -> None:
        self.upto = upto
        self.done = False


class PartedBatch:
    """A batch, and which of its parts are acknowledged."""

    def __init__(self, pipe: AckPipeline, batch: StreamBatch) -> None:
        self._pipe = pipe
        self.batch = batch
        self._parts: deque[_Part] = deque()
        self._reached = batch.records[0].offset

    @contextmanager
    def outputs(self, upto: int, last_words: Callable[[AckGroup], None] | None = None) -> Iterator[AckGroup]:
        """Everything that the records before `upto` cause, beyond earlier parts, goes into the bundle."""
        part = _Part(upto)
        self._parts.append(part)
        with self._pipe.part(self, part, last_words) as bundle:
            yield bundle

    def finished(self, part: _Part) -> int:
        """A part is acknowledged; the offset before which everything is."""
        part.done = True
        while self._parts and self._parts[0].done:
            self._reached = self._parts.popleft().upto
        return self._reached


class AckPipeline:
    """The parts of one worker's batches that are not acknowledged yet."""

    def __init__(self, log_: GroupingProducer) -> None:
        self._log = log_
        self._records = self._bytes = 0
        self._fewer = asyncio.Event()
        self._planning = asyncio.Lock()
        self._waiting: set[asyncio.Task[None]] = set()
        #: one part of a partition after the other has its last words
        self._turns: dict[int, asyncio.Lock] = {}
        self._failed = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more part may be planned and appended, and keep others from it meanwhile."""
        await asyncio.sleep(0)  # between two parts the loop belongs to everybody else
        async with self._planning:
            while self._records >= _MOST_RECORDS or self._bytes >= _MOST_BYTES:
                self._fewer.clear()
                await self._fewer.wait()
            await self._log.room()
            yield

    def parts(self, batch: StreamBatch) -> PartedBatch:
        """The batch, to be worked on in parts."""
        return PartedBatch(self, batch)

    @contextmanager
    def outputs(self, batch: StreamBatch) -> Iterator[AckGroup]:
        """Everything that the batch causes goes into the bundle; the batch is acknowledged when Kafka has all of it."""
        with self.parts(batch).outputs(batch.records[-1].offset + 1) as bundle:
            yield bundle

    @contextmanager
    def part(self, work: PartedBatch, part: _Part, last_words: Callable[[AckGroup], None] | None) -> Iterator[AckGroup]:
        """See `PartedBatch.outputs`."""
        acked, bundle = self._bundle()
        yield bundle
        bundle.close()
        work.batch.begin()
        self._records += bundle.records
        self._bytes += bundle.size
        task = asyncio.create_task(self._finish(work, part, acked, bundle, last_words))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Wait for nothing more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _bundle(self) -> tuple[asyncio.Future[None], AckGroup]:
        acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return acked, self._log.bundle(lambda: _done(acked), lambda error: _failed(acked, error))

    async def _finish(
        self,
        work: PartedBatch,
        part: _Part,
        acked: asyncio.Future[None],
        first: AckGroup,
        last_words: Callable[[AckGroup], None] | None,
    ) -> None:
        try:
            if last_words is not None:
                # Locks are given in the order in which they were asked for, and tasks begin in that of the parts.
                async with self._turns.setdefault(work.batch.partition.number, asyncio.Lock()):
                    await acked
                    if self._failed or not work.batch.partition.current:
                        return  # it is read again, by whoever has the partition then
                    acked, bundle = self._bundle()
                    last_words(bundle)
                    bundle.close()
            await acked
            await work.batch.done(work.finished(part))
        except HookstreamError as error:
            self._failed = True
            work.batch.fail(error)
        finally:
            self._records -= first.records
            self._bytes -= first.size
            self._fewer.set()


def remember(partition: StreamPartition, table: str, items: Mapping[bytes, bytes | None], bundle: AckGroup) -> None:
    """Write to a table and to its changelog; None removes."""
    if items:
        partition.write(table, items)
        changelog = partition.changelog(table)
        for key, value in items.items():
            bundle.append(changelog, key=key, value=value, partition=partition.number)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(future: asyncio.Future[None], error: HookstreamError) -> None:
    if not future.done():
        future.set_exception(error)
