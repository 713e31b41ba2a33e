"""Appending records."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Protocol

from app.core.errors import HookstreamError

RecordHeaders = Sequence[tuple[str, bytes]]


class Producer(Protocol):
    """Append to topics. Success means: acknowledged by all in-sync replicas."""

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders = (),
        partition: int | None = None,
    ) -> Future[int]:
        """Enqueue one record; blocks only while the buffer is full.

        The future resolves to the record's offset at the broker's acknowledgement. Broker outages are retried inside
        for ever (records may then be there twice, never missing); the future fails only for what a retry cannot repair
        (record too large), and then with a `HookstreamError`.
        """
        ...


class AckGroup(Protocol):
    """Several records that count as done together."""

    @property
    def records(self) -> int:
        """How many records were appended."""
        ...

    @property
    def size(self) -> int:
        """What they take in memory and in Kafka, in bytes, about."""
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
        """Enqueue one more record; never blocks. Not after `close`."""
        ...

    def close(self) -> None:
        """No more records will come; the bundle's callback may run from now on, even inside this call."""
        ...


class GroupingProducer(Producer, Protocol):
    """A log for the hot path: no future for each record."""

    def bundle(self, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> AckGroup:
        """A group of records. `then` runs once all are acknowledged; `failed` when one can never be."""
        ...

    async def room(self) -> None:
        """Return when the buffer has room for more work."""
        ...
