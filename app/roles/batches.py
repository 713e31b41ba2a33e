"""What roles on a stream share: batches whose outputs are awaited while the next ones are worked on, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
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

    async def room(self) -> None:
        """Return when another batch may be begun."""
        while self._outstanding >= _DEPTH:
            self._fewer.clear()
            await self._fewer.wait()
        await self._log.room()

    @contextmanager
    def outputs(self, batch: StreamBatch) -> Iterator[Bundle]:
        """Everything that the batch causes goes into the bundle; the batch is acknowledged when Kafka has all of it."""
        acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bundle = self._log.bundle(lambda: _done(acked), lambda error: _failed(acked, error))
        yield bundle
        bundle.close()
        self._outstanding += len(batch.records)
        task = asyncio.create_task(self._finish(batch, acked))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Wait for nothing more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _finish(self, batch: StreamBatch, acked: asyncio.Future[None]) -> None:
        try:
            await acked
            await batch.ack()
        except HookstreamError as error:
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
