"""Appending records."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Protocol

from app.core.errors import HookstreamError

RecordHeaders = Sequence[tuple[str, bytes]]


class Producer(Protocol):
    """Appends to topics. A record counts as appended when all in-sync replicas have acknowledged it."""

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> Future[int]:
        """Enqueue one record; waits only while the buffer is full.

        The future resolves to the record's offset when the broker acknowledges it. During a broker outage the producer
        retries for ever, so a record may be appended twice but is never lost. The future fails, with a
        `HookstreamError`, only if a retry cannot help (record too large).
        """
        ...


class AckGroup(Protocol):
    """Several records with one callback for all acknowledgements."""

    @property
    def records(self) -> int:
        """The number of records enqueued so far."""
        ...

    @property
    def size(self) -> int:
        """Their approximate size in bytes, in memory and in Kafka."""
        ...

    def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> None:
        """Enqueue one more record without waiting; not allowed after `close`."""
        ...

    def close(self) -> None:
        """Declare the group complete; its callback may run from now on, even inside this call."""
        ...


class GroupingProducer(Producer, Protocol):
    """A producer for the hot path, without a future for each record."""

    def bundle(self, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> AckGroup:
        """A group of records. `then` is called when all are acknowledged, `failed` for each that cannot be appended."""
        ...

    async def room(self) -> None:
        """Return when the buffer has room for more work."""
        ...
