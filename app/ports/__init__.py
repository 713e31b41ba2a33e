"""What roles need from the outside world, one to three verbs each; adapters implement, fakes stand in."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from app.core.directory import Directory
from app.core.errors import HookstreamError
from app.core.model.endpoint import SealedSecret
from app.core.model.http_exchange import Outcome, PreparedRequest
from app.core.model.replay import Counts, Oldest, Replay
from app.core.offsets.partitions import Committed, Place
from app.core.records.command import Action, Reply

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
        Raises `Hindered` when nothing was sent, because this machine lacks what a connection needs. Returning a
        `Refusal` does not mean that the receiver has not processed the request.
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

    def forget(self, name: str, **labels: str) -> None:
        """Show a gauge with these labels no longer, until it is set again: its value is not known."""
        ...


class Bundle(Protocol):
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

    async def ends(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The offset after the last record of each, now."""
        ...

    def lease_s(self) -> float:
        """Until then (`Clock.monotonic`) the group has given our partitions to nobody else, whatever this process has
        missed meanwhile: it counts from the last answer. Past it, the next answer tells.
        """
        ...

    def position(self, place: Place) -> int | None:
        """The offset that is read next of a partition, also over what holds no record; None: not known yet."""
        ...

    def pause(self, *places: Place) -> None:
        """Fetch these no more; what was fetched and not polled is dropped and comes again after `resume`."""
        ...

    def resume(self, *places: Place) -> None:
        """Fetch these again."""
        ...


class SeekingSource(Source, Protocol):
    """One whose offsets are kept elsewhere: assigned partitions stay paused until they are resumed."""

    def seek(self, place: Place, offset: int) -> None:
        """Read on from there. Raises what ends the role when the partition is no longer ours."""
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

        `since` is of `Clock.monotonic`; None: now. One question to the broker serves all moments before it.
        """
        ...

    async def catch_up_after_reply(self) -> None:
        """Return when all that registry replies have reported has been read: they may come before the changes."""
        ...


class KeyRing(Protocol):
    """Seal and open signing secrets."""

    def seal(self, secret: str, owner: str, now_ms: int) -> SealedSecret:
        """Encrypt a secret for its owner."""
        ...

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

    def stands_by(self) -> bool:
        """Whether it has joined, and another process was chosen."""
        ...

    def assigned_place(self) -> tuple[Place, int | None] | None:
        """The partition of commands, and the offset that is read next of it; None: another process has it."""
        ...

    async def poll(self) -> Sequence[Record]:
        """The next commands; empty after a second without any."""
        ...

    async def commit(
        self, states: Sequence[tuple[str, bytes | None]], entries: Sequence[tuple[str, bytes]],
        replies: Sequence[tuple[str, bytes]], next_offset: int,
    ) -> None:  # fmt: skip
        """Write states, entries of the audit log (by tenant), replies and the commands' offset in one transaction.

        Raises `TooLarge` when nothing was written, because a topic refuses a record for its size; `Unavailable` when
        the outcome is unknown or another writer has taken over. Then the state in memory is not to be trusted either.
        """
        ...


class CommandSender(Protocol):
    """Ask the registry for a change."""

    async def call(self, action: Action, *, entity: str, actor: str = "", timeout_s: float = 15.0) -> Reply:
        """Send and wait for the writer's answer; `actor` is who asks, for the audit log.

        Raises `CommandRefused`, or `Unavailable` when nobody answers in time; the change may then still be made.
        """
        ...


class Ends(Protocol):
    """Where topics end."""

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Partition → the offset that the next record gets. Raises `Unavailable`."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → the offset below which fan-out has finished everything. Raises `Unavailable`."""
        ...


class Minter(Protocol):
    """Make what nobody can guess."""

    def id(self, prefix: str) -> str:
        """`<prefix>_` and 24 random characters."""
        ...

    def secret(self) -> str:
        """A signing secret."""
        ...

    def api_key(self, mode: str) -> str:
        """A key of the management API."""
        ...


class Reading(Protocol):
    """Some partitions of a topic, read by one reader alone from given offsets on."""

    async def poll(
        self, partitions: Collection[int], *, timeout_ms: int, max_records: int
    ) -> Mapping[int, Sequence[Record]]:
        """The next records of these partitions, as soon as there are any; empty after the timeout.

        A broker outage gives empty answers, not errors.
        """
        ...

    async def position(self, partition: int) -> int:
        """The offset from which the next poll goes on; it moves over what holds no record, too."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class ReplayReader(Protocol):
    """Read topics again, and ask where they and the fan-out stand. All raise `Unavailable`."""

    async def open(self, topic: str, starts: Mapping[int, int]) -> Reading:
        """Read these partitions; an offset that is no longer there becomes the first one that is."""
        ...

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Partition → the offset that the next record gets."""
        ...

    async def oldest(self, topic: str, partitions: Collection[int]) -> Mapping[int, Oldest]:
        """Partition → where its first record is, and how old that is."""
        ...

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record is not older; the end, when all are."""
        ...

    async def fanned_out(self) -> Mapping[int, int]:
        """Partition of events.raw → what the fan-out group has committed; a partition without a commit is missing."""
        ...

    async def sequenced(self) -> Mapping[int, int]:
        """Partition of deliveries.ordered → what the sequencer's group has committed; the same holds."""
        ...

    async def close(self) -> None:
        """Disconnect, within seconds."""
        ...


class ReplayCounter(Protocol):
    """Try a replay without making it."""

    async def count(self, replay: Replay, *, within_s: float) -> Counts:
        """What it would deliver; not complete when that takes longer than `within_s`. Raises `Unavailable`."""
        ...
