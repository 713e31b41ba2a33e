"""What fan-out needs of its stream processor and of the schemas of event types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from app.core.errors import HookstreamError
from app.core.model.event_types import EventType
from app.core.offsets.progress import RoleReport
from app.core.schemas.rules import Violation
from app.ports.consumer import Record


class StreamPartition(Protocol):
    """One partition of the source with its tables, during one assignment."""

    @property
    def number(self) -> int: ...
    @property
    def start(self) -> int:
        """The committed offset at which reading began after the assignment (0: nothing was committed)."""
        ...

    @property
    def was_reset(self) -> bool:
        """Whether that offset was written by somebody else than this group's members."""
        ...

    @property
    def moved(self) -> bool:
        """Whether the log was not where it was left, so that what is remembered of its offsets means nothing."""
        ...

    @property
    def current(self) -> bool:
        """Whether nothing was assigned anew since; if something was, the tables may be somebody else's."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether it is about to be given up, or read anew: nothing more is to be begun, only what is open to be ended.

        What is not begun then comes again from the commit on, here or elsewhere.
        """
        ...

    def read(self, table: str, key: bytes) -> bytes | None:
        """The value in the local store."""
        ...

    def scan(self, table: str, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The keys that begin so, with their values, ascending; nothing may be written meanwhile."""
        ...

    def write(self, table: str, items: Mapping[bytes, bytes | None]) -> None:
        """Put items into the local store (None removes), for the next batch; the changelog is the caller's."""
        ...

    def changelog(self, table: str) -> str:
        """The table's changelog topic; its records have the partition's number."""
        ...


class StreamBatch(Protocol):
    """All records of one partition of one poll."""

    @property
    def partition(self) -> StreamPartition:
        """The same object for all batches of an assignment."""
        ...

    @property
    def records(self) -> Sequence[Record]: ...
    @property
    def polled_at(self) -> float:
        """When the records had been read from the broker, in `Clock.monotonic`."""
        ...

    def begin(self) -> None:
        """Outputs of one more part of it are under way; `done` follows."""
        ...

    async def done(self, reached: int) -> None:
        """A part has ended, and everything is acknowledged that the records before `reached` cause.

        They may be committed; the batch is finished when that is all of it.
        """
        ...

    def fail(self, error: HookstreamError) -> None:
        """It cannot be finished: `StreamApp.run` ends with the error, and nothing of the batch is committed."""
        ...


class StreamApp(Protocol):
    """A stream processor over one topic with tables; one run for each instance."""

    async def run(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        """Hand batches to `handle` until cancelled or failed: of each partition one after the other has returned.

        Partitions do not wait for one another. No more is read of one that has too much which is not acknowledged.
        What `handle` raises ends the run; batches that were not acknowledged are not committed.
        """
        ...

    def assigned(self) -> Sequence[StreamPartition]:
        """The partitions whose tables are recovered, the same objects as in their batches."""
        ...

    def ready(self) -> str | None:
        """None when tables are recovered and partitions assigned; else why not."""
        ...

    def report(self) -> RoleReport:
        """For the watchdog. A move is: the lowest offset that is not acknowledged has gone up."""
        ...


class SchemaValidator(Protocol):
    """Judge events by the schemas of their types."""

    @property
    def spent(self) -> int:
        """Units of work so far, of about 25 ns (core/schemas/cost.py)."""
        ...

    def violation(self, event_type: EventType, data: bytes) -> Violation | None:
        """Where and how `data` (JSON) breaks the type's schema, or why it cannot be checked; None: it is valid."""
        ...
