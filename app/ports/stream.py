"""The ports of fan-out: the stream processor with its tables, and the validation of events by schema."""

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
        """The committed offset at which reading began after the assignment; 0 if there was none."""
        ...

    @property
    def was_reset(self) -> bool:
        """Whether that offset was committed by another program, such as a reset tool, instead of a member."""
        ...

    @property
    def moved(self) -> bool:
        """Whether the log has moved since the last commit, so that remembered offsets are meaningless."""
        ...

    @property
    def current(self) -> bool:
        """Whether this assignment is still in force; if not, another worker may own the tables."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether the partition is about to be revoked or reread: finish the open parts, and begin no others.

        Records that were not begun are read again from the commit on, by this worker or another one.
        """
        ...

    def read(self, table: str, key: bytes) -> bytes | None:
        """The value in the local store."""
        ...

    def scan(self, table: str, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The keys that begin with `prefix`, with their values, ascending. Do not write while iterating."""
        ...

    def write(self, table: str, items: Mapping[bytes, bytes | None]) -> None:
        """Put items into the local store (None removes). The caller must also append them to the changelog."""
        ...

    def changelog(self, table: str) -> str:
        """The table's changelog topic, which has the same partitions as the source."""
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
        """When the records were read from the broker (`Clock.monotonic`)."""
        ...

    def begin(self) -> None:
        """One more part of the batch is being processed; a call of `done` must follow."""
        ...

    async def done(self, reached: int) -> None:
        """A part has ended, and all outputs of the records before offset `reached` are acknowledged.

        Those records may be committed. The batch is finished when `reached` is past its last record.
        """
        ...

    def fail(self, error: HookstreamError) -> None:
        """The batch cannot be finished: `StreamApp.run` raises the error, and nothing of the batch is committed."""
        ...


class StreamApp(Protocol):
    """A stream processor over one topic with tables; one run for each instance."""

    async def run(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        """Call `handle` for each batch until cancelled; batches of one partition are handled one at a time.

        Partitions do not wait for one another. Reading of a partition pauses while too many of its records are
        unacknowledged. An exception of `handle` ends the run; unacknowledged batches are not committed.
        """
        ...

    def assigned(self) -> Sequence[StreamPartition]:
        """The assigned partitions, once their tables are recovered: the same objects as in their batches."""
        ...

    def ready(self) -> str | None:
        """None when tables are recovered and partitions are assigned; otherwise the reason to wait."""
        ...

    def report(self) -> RoleReport:
        """For the watchdog. Progress means that the lowest unacknowledged offset has increased."""
        ...


class SchemaValidator(Protocol):
    """Validates events against the schemas of their types."""

    @property
    def spent(self) -> int:
        """Units of work done so far, about 25 ns each (core/schemas/cost.py)."""
        ...

    def violation(self, event_type: EventType, data: bytes) -> Violation | None:
        """Where and how `data` (JSON) violates the type's schema, or why it cannot be checked; None if it is valid."""
        ...
