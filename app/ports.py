"""What roles need from the outside world, one to three verbs each; adapters implement, fakes stand in."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from app.core.directory import Directory
from app.core.errors import HookstreamError
from app.core.exchange import Outcome, PreparedRequest
from app.core.model import SealedSecret
from app.core.partitions import Committed, Place

Headers = Sequence[tuple[str, bytes]]


class Clock(Protocol):
    """Wall time and waiting. The only source of "now" for roles."""

    def now_ms(self) -> int:
        """Wall clock in milliseconds since the epoch; may step when the host's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds` (a negative or zero value yields once). Cancellable."""
        ...


class Dice(Protocol):
    """Chance, for jitter."""

    def roll(self) -> float:
        """A number in [0, 1)."""
        ...


class Log(Protocol):
    """Append to topics. Success means: acknowledged by all in-sync replicas."""

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> Future[int]:
        """Enqueue one record; blocks only while the buffer is full.

        The future resolves to the record's offset at the broker's acknowledgement. Broker outages are retried inside
        for ever (records may then be there twice, never missing); the future fails only for what a retry cannot repair
        (record too large), and then with a `HookstreamError`.
        """
        ...


class Sender(Protocol):
    """Make one HTTP exchange with a customer's endpoint."""

    async def send(self, request: PreparedRequest) -> Outcome:
        """Send and read the answer; returns within `request.timeout_s` (+ 100 ms).

        Never raises for anything that the network or the receiver does; cancellation closes the connection.
        Returning a `Refusal` does not mean that the receiver has not processed the request.
        """
        ...


class Meter(Protocol):
    """Count and measure; never blocks, never raises. Names and labels are the table in adapters/metrics.py."""

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation (seconds, bytes or a plain number) to a histogram."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


class Bundle(Protocol):
    """Several records that count as done together."""

    def append(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int | None = None
    ) -> None:
        """Enqueue one more record; never blocks. Not after `close`."""
        ...

    def close(self) -> None:
        """No more records will come; the bundle's callback may run from now on, even inside this call."""
        ...


class BundleLog(Log, Protocol):
    """A log for the hot path: no future for each record."""

    def bundle(self, then: Callable[[], None], failed: Callable[[HookstreamError], None]) -> Bundle:
        """A group of records. `then` runs once all are acknowledged; `failed` when one can never be."""
        ...

    async def room(self) -> None:
        """Return when the buffer has room for more work."""
        ...


class Record(Protocol):
    """What roles read of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class PartitionListener(Protocol):
    """Who works on a source's partitions."""

    async def assigned(self, places: Mapping[Place, Committed]) -> None:
        """These are ours from now on; reading starts at the committed offset, else at the beginning."""
        ...

    async def revoked(self, places: set[Place]) -> None:
        """These are no longer ours once this returns (seconds at most): finish or drop, then commit."""
        ...


class Source(Protocol):
    """A member of a consumer group. The listener hears of an assignment before its first record is polled."""

    async def start(self, listener: PartitionListener) -> None:
        """Join; returns before partitions are assigned. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave, within seconds. Commits nothing."""
        ...

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> Mapping[Place, Sequence[Record]]:
        """Records of the partitions that are not paused, as soon as there are any; empty after the timeout.

        A broker outage gives empty answers, not errors.
        """
        ...

    async def commit(self, offsets: Mapping[Place, tuple[int, str]]) -> bool:
        """Commit offsets with metadata; False: not now (rebalance, outage), and the next commit says it all again."""
        ...

    def pause(self, *places: Place) -> None:
        """Fetch these no more; what was fetched and not polled is dropped and comes again after `resume`."""
        ...

    def resume(self, *places: Place) -> None:
        """Fetch these again."""
        ...


class DirectoryFeed(Protocol):
    """The directory of this process, kept in step with the registry topic."""

    @property
    def directory(self) -> Directory:
        """The directory as far as it has been read."""
        ...

    @property
    def position(self) -> int:
        """The offset up to which the registry has been read."""
        ...

    async def fence(self, since: float | None = None) -> None:
        """Return when everything that was in the registry at `since` has been read.

        `since` is of `Clock.monotonic`; None: at the time of the call. One question to the broker serves all moments
        before it.
        """
        ...

    async def reached(self, position: int) -> None:
        """Return when the registry has been read up to `position`."""
        ...


class KeyRing(Protocol):
    """Seal and open signing secrets."""

    def open(self, sealed: SealedSecret, owner: str) -> str:
        """The secret as the customer knows it; raises `ConfigError` when no key of the ring opens it."""
        ...


class RegistryStore(Protocol):
    """What the registry's writer needs: to be chosen, to read commands, to write all or nothing."""

    async def start(self) -> None:
        """Join the writers' group. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave it, within seconds."""
        ...

    async def chosen(self, directory: Directory) -> None:
        """Block until this process is the writer; then fence the predecessor and fill `directory`."""
        ...

    def is_writer(self) -> bool:
        """Whether it still is."""
        ...

    async def poll(self) -> Sequence[Record]:
        """The next commands; empty after a second without any."""
        ...

    async def commit(
        self, states: Sequence[tuple[str, bytes | None]], replies: Sequence[tuple[str, bytes]], next_offset: int
    ) -> None:
        """Write states, replies and the commands' offset in one transaction.

        Raises `Unavailable` when the outcome is unknown or another writer has taken over; then the state in memory is
        not to be trusted either.
        """
        ...


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

    def read(self, table: str, key: bytes) -> bytes | None:
        """The value in the local store."""
        ...

    def write(self, table: str, items: Mapping[bytes, bytes]) -> None:
        """Put items into the local store, seen by the next batch. The caller appends them to the changelog."""
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

    async def ack(self) -> None:
        """Everything that the batch causes is acknowledged: its offsets may be committed."""
        ...

    def fail(self, error: HookstreamError) -> None:
        """It cannot be finished: `StreamApp.run` ends with the error, and nothing of the batch is committed."""
        ...


class StreamApp(Protocol):
    """A stream processor over one topic with tables; one run for each instance."""

    async def run(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        """Hand batches to `handle`, those of a partition in order, until cancelled or failed.

        What `handle` raises ends the run; batches that were not acknowledged are not committed.
        """
        ...

    def ready(self) -> str | None:
        """None when tables are recovered and partitions assigned; else why not."""
        ...
