"""`app.ports.stream.StreamApp` on Faust: run the app, hand out batches, report failures, stop within a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from faust.types import TP

from app.adapters.faust.app import BatchApp
from app.adapters.faust.app_builder import build_app
from app.adapters.kafka.clients import KafkaClients
from app.core.errors import HookstreamError, Unavailable
from app.core.offsets.commit_pace import SOON_S, CommitPace
from app.core.offsets.partitions import spans
from app.core.offsets.progress import RoleReport
from app.core.table_recovery import PLAIN, TableRecovery
from app.ports.consumer import Record
from app.ports.stream import StreamBatch

logger = structlog.get_logger(__name__)

_STOP_S = 12.0


class _Partition:
    """`app.ports.stream.StreamPartition`."""

    __slots__ = ("_app", "_assignment", "_tables", "moved", "number", "start", "was_reset")

    def __init__(self, stream: FaustStream, place: TP) -> None:
        self._app = stream.app
        self._tables = stream.tables
        self._assignment = int(stream.app.consumer.assignments)
        self.number: int = place.partition
        self.start = stream.app.start_of(place)
        self.was_reset = stream.app.was_reset(place)
        self.moved = stream.app.has_moved(place)

    @property
    def current(self) -> bool:
        """Whether the assignment that this object belongs to is still in force."""
        return bool(self._app.consumer.assignments == self._assignment)

    @property
    def leaving(self) -> bool:
        """Whether the partition is about to be revoked, or reread from the commit."""
        return bool(self._app.consumer.leaving or self._app.failed)

    def read(self, table: str, key: bytes) -> bytes | None:
        return self._tables[table].read(self.number, key)

    def scan(self, table: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return self._tables[table].scan(self.number, prefix)

    def write(self, table: str, items: Mapping[bytes, bytes | None]) -> None:
        self._tables[table].write(self.number, items)

    def changelog(self, table: str) -> str:
        return str(self._tables[table].changelog_topic_name)


class _Batch:
    """`app.ports.stream.StreamBatch`."""

    __slots__ = ("_event", "_stream", "partition", "polled_at", "records")

    def __init__(self, stream: FaustStream, event: Any) -> None:
        self._stream = stream
        self._event = event
        self.partition = stream.partition(TP(event.message.topic, event.message.partition))
        self.polled_at: float = event.value.at
        self.records: Sequence[Record] = event.value.records

    def begin(self) -> None:
        self._stream.app.consumer.begin(self._event.message)

    async def done(self, reached: int) -> None:
        message = self._event.message
        self._stream.app.consumer.done(message, reached)
        if reached > message.offset:
            self._event.ack()
        self._stream.pace.finished(len(self.records))
        self._stream.acked.set()

    def fail(self, error: HookstreamError) -> None:
        self._stream.fail(error)


class _Lane:
    """The waiting batches of one partition, and the task that processes them."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Batch] = deque()
        self.task: asyncio.Task[None] | None = None


class FaustStream:
    """One run of the app. After a failure, construct another one."""

    def __init__(
        self,
        *,
        group: str,
        clients: KafkaClients,
        source_topic: str,
        partitions: int,
        data_dir: str,
        store: str,
        client_id: str,
        agent: str,
        tables: Mapping[str, int | None],
        session_s: float = 10.0,
        instance: str | None = None,
        recovery: Mapping[str, TableRecovery] | None = None,
    ) -> None:
        """`tables`: name → TTL in seconds; None: entries never expire. `recovery`: name → rules, where the default
        ones do not suffice.
        """
        try:
            Path(data_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"the folder of the tables cannot be created: {error}") from error
        self.app: BatchApp = build_app(
            group=group,
            clients=clients,
            source_topic=source_topic,
            data_dir=data_dir,
            store=store,
            client_id=client_id,
            session_s=session_s,
            instance=instance,
        )
        self.tables = {
            name: self.app.batch_table(name, partitions, ttl_s, (recovery or {}).get(name, PLAIN))
            for name, ttl_s in tables.items()
        }
        self._count = partitions
        self.app.on_failure = self.fail
        self._topic = self.app.batch_topic(source_topic)
        #: set when a batch was acknowledged since the last commit
        self.acked = asyncio.Event()
        self.pace = CommitPace()
        self._partitions: dict[TP, _Partition] = {}
        self._lanes: dict[int, _Lane] = {}
        self._failure: asyncio.Future[None] | None = None
        self._handle: Callable[[StreamBatch], Awaitable[None]] | None = None
        self.app.agent(self._topic, name=agent, concurrency=1)(self._agent)
        self._group = group
        #: called after each assignment of partitions
        self.on_assigned: Callable[[], None] = lambda: None
        self.app.on_partitions_assigned.connect(self._on_assigned)
        self.app.on_partitions_revoked.connect(self._on_revoked)

    async def _on_assigned(self, _app: object, assigned: Collection[TP], **_: object) -> None:
        logger.info("partitions.assigned", group=self._group, partitions=spans(assigned))
        self.on_assigned()

    async def _on_revoked(self, _app: object, revoked: Collection[TP], **_: object) -> None:
        if revoked:
            logger.info("partitions.revoked", group=self._group, partitions=spans(revoked))

    def partition(self, place: TP) -> _Partition:
        """The partition in its current assignment."""
        partition = self._partitions.get(place)
        if partition is None or not partition.current:
            partition = self._partitions[place] = _Partition(self, place)
        return partition

    def assigned(self) -> Sequence[_Partition]:
        """See `app.ports.stream.StreamApp`."""
        if self.ready() is not None:
            return []
        places = [each for each in self.app.consumer.assignment() if each.topic in self.app.batched_topics]
        return [self.partition(place) for place in sorted(places)]

    async def _commit_loop(self) -> None:
        """Commit at the pace of `CommitPace`, so that a crash repeats little more than unfinished batches."""
        while True:
            await self.acked.wait()
            await asyncio.sleep(SOON_S)
            if self.pace.is_due(monotonic()) and not self.app.failed and not self.app.rebalancing:
                self.acked.clear()
                self.pace.committing(monotonic())
                await self.app.consumer.commit()  # Faust's own timer retries if it fails

    def fail(self, error: Exception) -> None:
        """End the run with an error."""
        self.app.failed = True
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    def ready(self) -> str | None:
        """See `app.ports.stream.StreamApp`."""
        app = self.app
        if not app.started or app.should_stop or not app.consumer:
            return "starting"
        if app.in_recovery or app.rebalancing or not app.consumer.flow_active:
            return "recovering tables"
        spare = app.unassigned  # a member without partitions, until another one leaves
        return None if app.consumer.assignments or spare else "waiting for the assignment of partitions"

    def report(self) -> RoleReport:
        """See `app.ports.stream.StreamApp`."""
        settling = self.ready()
        if settling is not None:
            recovered = sum(offset or 0 for offset in self.app.tables.recovery.active_offsets.values())
            remaining = sum(max(0, each) for each in self.app.tables.recovery.active_remaining().values())
            return RoleReport(settling=settling, steps=recovered, unrecovered=remaining)
        lows = self.app.consumer.progress()
        return RoleReport({(place.topic, place.partition): progress for place, progress in lows.items()})

    async def run(self, handle: Callable[[StreamBatch], Awaitable[None]]) -> None:
        """See `app.ports.stream.StreamApp`."""
        self._handle = handle
        self._failure = asyncio.get_running_loop().create_future()
        watch: list[asyncio.Future[Any]] = [self._failure]
        try:
            try:
                await self.app.start()
            except Exception as error:
                raise Unavailable(f"the stream processor could not start: {error!r}") from error
            watch += [asyncio.ensure_future(self.app.wait_until_stopped()), asyncio.ensure_future(self._commit_loop())]
            await asyncio.wait(watch, return_when=asyncio.FIRST_COMPLETED)
            for each in watch:
                if each.done():
                    each.result()
            raise Unavailable(f"the stream processor ended: {self.app.crash_reason!r}")
        finally:
            for each in watch:
                each.cancel()
            await asyncio.gather(*watch, return_exceptions=True)
            await self._stop()

    async def _stop(self) -> None:
        stopping = asyncio.create_task(self.app.stop())
        done, _ = await asyncio.wait([stopping], timeout=_STOP_S)
        lanes = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        if not done:
            logger.error("stream.did_not_stop", seconds=_STOP_S)
            stopping.cancel()
        elif stopping.exception() is not None:
            logger.warning("stream.stop_failed", error=repr(stopping.exception()))
        for table in self.tables.values():
            await table.close()

    async def _agent(self, stream: Any) -> AsyncIterable[None]:
        async for event in stream.noack().events():
            batch = _Batch(self, event)
            if batch.partition.number >= self._count:  # added later: the tables' changelogs lack it
                self.fail(Unavailable(f"{event.message.topic} has more than {self._count} partitions now"))
                yield
                continue
            lane = self._lanes.setdefault(batch.partition.number, _Lane())
            lane.waiting.append(batch)
            if lane.task is None:
                lane.task = asyncio.create_task(self._work(lane))
            yield

    async def _work(self, lane: _Lane) -> None:
        """Process the batches of one partition in order, independently of the other partitions.

        The queue is bounded because reading pauses while too much is unfinished.
        """
        try:
            while lane.waiting and self._handle is not None:
                batch = lane.waiting.popleft()
                if batch.partition.current and not batch.partition.leaving:  # else its records are read again
                    await self._handle(batch)
        except Exception as error:
            logger.exception("stream.batch_failed")
            self.fail(error)
        finally:
            lane.task = None
