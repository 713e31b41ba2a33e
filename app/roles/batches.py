"""What roles on a stream share: batches whose outputs are awaited while the next ones are worked on, within bounds.

A batch may have *last words*: records that are appended when everything else that it causes is acknowledged, and in the
order of the partition's batches. They count for its acknowledgement like the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from app.core.errors import HookstreamError
from app.ports import Bundle, BundleLog
from app.ports.streams import StreamBatch, StreamPartition

#: records whose outputs may be outstanding
_DEPTH = 4000


class BatchPipe:
    """The batches of one worker that are not acknowledged yet."""

    def __init__(self, log_: BundleLog) -> None:
        self._log = log_
        self._outstanding = 0
        self._fewer = asyncio.Event()
        self._waiting: set[asyncio.Task[None]] = set()
        #: one batch of a partition after the other has its last words
        self._turns: dict[int, asyncio.Lock] = {}
        self._failed = False

    async def room(self) -> None:
        """Return when another batch may be begun."""
        while self._outstanding >= _DEPTH:
            self._fewer.clear()
            await self._fewer.wait()
        await self._log.room()

    @contextmanager
    def outputs(self, batch: StreamBatch, last_words: Callable[[Bundle], None] | None = None) -> Iterator[Bundle]:
        """Everything that the batch causes goes into the bundle; the batch is acknowledged when Kafka has all of it."""
        acked, bundle = self._bundle()
        yield bundle
        bundle.close()
        self._outstanding += len(batch.records)
        task = asyncio.create_task(self._finish(batch, acked, last_words))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Wait for nothing more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _bundle(self) -> tuple[asyncio.Future[None], Bundle]:
        acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return acked, self._log.bundle(lambda: _done(acked), lambda error: _failed(acked, error))

    async def _finish(
        self, batch: StreamBatch, acked: asyncio.Future[None], last_words: Callable[[Bundle], None] | None
    ) -> None:
        try:
            if last_words is not None:
                # Locks are given in the order in which they were asked for, and tasks begin in that of the batches.
                async with self._turns.setdefault(batch.partition.number, asyncio.Lock()):
                    await acked
                    if self._failed or not batch.partition.current:
                        return  # it is read again, by whoever has the partition then
                    acked, bundle = self._bundle()
                    last_words(bundle)
                    bundle.close()
            await acked
            await batch.ack()
        except HookstreamError as error:
            self._failed = True
            batch.fail(error)
        finally:
            self._outstanding -= len(batch.records)
            self._fewer.set()


def remember(partition: StreamPartition, table: str, items: Mapping[bytes, bytes | None], bundle: Bundle) -> None:
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
