"""A Faust app that reads one topic in batches and keeps tables, and that loses nothing: `app.ports.StreamApp`.

    app = build_app(group="hookstream.fanout", …)
    await app.run(handle)      # until cancelled; raises when this instance cannot go on: then build the next one

Offsets are committed only behind batches that were acknowledged. After a failure nothing is begun any more, and
nothing at or behind an unacknowledged batch is ever committed by this instance.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from faust.types import TP
from faust.types.settings import Settings
from mode import Service

from app.adapters.faust_batch import Batch
from app.adapters.faust_consumer import BatchConsumer, BatchSchema, BatchTransport
from app.adapters.faust_recovery import BatchTableManager
from app.adapters.faust_table import BatchTable, DiskStore, MemoryStore, Store, new_cache
from app.adapters.kafka_errors import reachable
from app.core.errors import ConfigError, Defect, HookstreamError, Unavailable
from app.ports import StreamBatch

log = structlog.get_logger(__name__)

_STOP_S = 9.0
_WATCH_EVERY_S = 5.0

Handle = Callable[[StreamBatch], Awaitable[None]]


class Pipeline:
    """Begins batches in the order in which they come, and knows which of them are unfinished."""

    def __init__(self, app: FaustApp) -> None:
        self.handle: Handle | None = None
        self.closed = False
        #: how many batches were begun so far
        self.begun = 0
        self._app = app
        self._open: set[Batch] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def begin(self, batch: Batch) -> None:
        """Let the role handle a batch, unless it is no longer ours or the app has failed."""
        if self.closed or not batch.live:
            return
        if self.handle is None:
            raise Defect("a batch came before the app was started")
        self._open.add(batch)
        self.begun += 1
        self._idle.clear()
        try:
            await self.handle(batch)
        except Exception as error:
            self.ended(batch)
            if batch.live:
                self._app.fail(error)
            else:
                log.info("faust.batch_dropped", partition=batch.partition, error=repr(error))

    def ended(self, batch: Batch) -> None:
        """A batch is acknowledged, or never will be."""
        self._open.discard(batch)
        if not self._open:
            self._idle.set()
        self._app.consumer.look_again()

    async def idle(self, timeout_s: float) -> None:
        """Return when every batch that was begun has ended, or after the timeout."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("faust.batches_unfinished", count=len(self._open), action="they will come again")


class _Settings(Settings):
    def getenv(self, env_name: str) -> None:
        """Faust lets variables like APP_DATADIR win over what the program says."""


class _Boot(BootStrategy):
    """Neither producer nor web server, leader election or reply topic: none of them is used."""

    enable_kafka_producer = False
    enable_web = False

    def kafka_consumer(self) -> Sequence[Any]:
        """The consumer."""
        return [self.app.consumer]


class FaustApp(faust.App):
    """Faust with our consumer, our tables and settings that nothing overrides."""

    Settings = _Settings
    BootStrategy = _Boot
    consumer: BatchConsumer
    tables: BatchTableManager

    def __init__(self, group: str, *, bootstrap: str, source_topic: str, partitions: int, **options: Any) -> None:
        self.bootstrap = bootstrap
        self.source_topic = source_topic
        self.partitions = partitions
        self.tables_by_name: dict[str, BatchTable] = {}
        #: by changelog topic
        self.tables_of: dict[str, BatchTable] = {}
        self.failure: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self.pipeline = Pipeline(self)
        super().__init__(group, TableManager=BatchTableManager, **options)
        self.agent(self.topic(source_topic, schema=BatchSchema(), acks=False), name=group)(self._work)

    @property
    def in_flight_records(self) -> int:
        """How many records may be handed out and unfinished before reading stops: one poll in work, one behind it."""
        return 2 * int(self.conf.broker_max_poll_records or 1)

    def fail(self, error: BaseException) -> None:
        """This app cannot go on."""
        self.pipeline.closed = True
        if not self.failure.done():
            self.failure.set_exception(error)

    async def _work(self, stream: faust.Stream[Batch]) -> None:
        events: AsyncIterator[faust.Event] = stream.events()
        async for event in events:
            await self.pipeline.begin(event.value)

    def committed(self, partition: int) -> int | None:
        """The offset that the group has committed by now, None: none, or the partition is not ours."""
        return self.consumer.committed.get(TP(self.source_topic, partition))

    def check_topics(self, counts: Mapping[str, int]) -> None:
        """Raise `ConfigError` unless the source topic and all changelogs have as many partitions as expected."""
        problems = [
            f"topic {topic} has {counts.get(topic, 0)} partitions, not {self.partitions}: run `hookstream topics apply`"
            for topic in (self.source_topic, *self.tables_of)
            if counts.get(topic, 0) != self.partitions
        ]
        if problems:
            raise ConfigError(problems)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_producer, self)

    def _create_directories(self) -> None:
        """The tables make their own."""


class BatchApp:
    """`app.ports.StreamApp`: one run of a Faust app in the running loop; not to be started twice."""

    def __init__(self, app: FaustApp, stall_s: float) -> None:
        self._app = app
        self._stall_s = stall_s
        self._noted = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, handle: Handle) -> NoReturn:
        """Work until cancelled, then stop (bounded). Raises `HookstreamError`, or what `handle` raised."""
        try:
            self.start(handle)
            await self.wait_failed()
        finally:
            await self.stop()

    def start(self, handle: Handle) -> None:
        """Begin to connect, join the group and rebuild the tables; failures come out of `wait_failed`."""
        self._app.pipeline.handle = handle
        work = self._start(), self._crashed(), self._watch()
        self._tasks = [asyncio.create_task(self._guard(each)) for each in work]

    async def wait_failed(self) -> NoReturn:
        """Raise why this app cannot go on, once it cannot."""
        await asyncio.shield(self._app.failure)
        raise Defect("unreachable")

    async def stop(self) -> None:
        """Finish and commit what is in work, leave the group, close the tables: in ten seconds, whatever happens."""
        stopping = asyncio.create_task(self._app.stop())
        done, _ = await asyncio.wait([stopping], timeout=_STOP_S)
        if not done:
            log.error("faust.stop_hangs", group=self._app.conf.id)
        self._app.pipeline.closed = True
        await self._app.consumer.thread.leave()
        _abandon(self._app)
        tasks = [stopping, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
        for table in self._app.tables_of.values():
            table.close()
        if not self._app.failure.done():
            self._app.failure.cancel()
        elif not self._app.failure.cancelled():
            self._app.failure.exception()  # seen, should nobody have waited

    def ready(self) -> str | None:
        """None when a new record would be handed to `plan` now (or is another member's), else why not."""
        app = self._app
        if app.failure.done():
            return "failed"
        if app.rebalancing_count == 0:
            return "joining the group"
        if app.rebalancing or not app.consumer.flow_active:
            return "rebuilding the tables" if app.in_recovery else "waiting for partitions"
        return None

    def lag(self) -> dict[int, tuple[int, int]]:
        """For each partition of ours the committed offset (or where reading began) and the end, as last heard."""
        consumer = self._app.consumer
        found = {}
        for tp, track in consumer.tracks.items():
            end = consumer.thread.highwater(tp)
            found[tp.partition] = (consumer.committed.get(tp, track.start), max(end or 0, track.next))
        return found

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except HookstreamError as error:
            self._app.fail(error)
        except Exception as error:
            self._app.fail(_ours(error))

    async def _start(self) -> None:
        with reachable(self._app.bootstrap):
            await self._app.start()

    async def _crashed(self) -> None:
        await self._app._crashed.wait()
        reason = self._app.crash_reason
        raise Defect("Faust has crashed") if reason is None else _ours(reason)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        mark, since = self._progress(), loop.time()
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            await self._note_ends()
            now = self._progress()
            if now is None or now != mark:
                mark, since = now, loop.time()
            elif loop.time() - since > self._stall_s:
                what = self.ready() or "batches are not acknowledged"
                raise Unavailable(f"no progress for {self._stall_s:.0f} s: {what}")

    async def _note_ends(self) -> None:
        """Spare the next recovery what the local stores have."""
        tables = self._app.tables_of
        ours = [tp for table in tables.values() for tp in table.partitions()]
        if self.ready() is not None or self._app.pipeline.begun == self._noted:
            return
        self._noted = self._app.pipeline.begun
        generation = self._app.consumer_generation_id
        try:
            async with asyncio.timeout(_WATCH_EVERY_S):
                ends = await self._app.consumer.thread.ends(ours)
        except (KafkaError, TimeoutError) as error:
            log.info("faust.changelog_ends_unknown", error=repr(error))
            return
        if self.ready() is None and generation == self._app.consumer_generation_id:
            for tp, end in ends.items():
                tables[tp.topic].persisted(tp.partition, end - 1)

    def _progress(self) -> tuple[object, ...] | None:
        """Something that changes with any progress; None when there is nothing to do."""
        app = self._app
        lag = self.lag() if app.rebalancing_count else {}
        if self.ready() is None and all(done == end for done, end in lag.values()):
            return None
        recovered = dict(app.tables.recovery.active_offsets) if app.in_recovery else {}
        return app.consumer_generation_id, lag, recovered


def build_app(
    *, group: str, bootstrap: str, source_topic: str, partitions: int, data_dir: Path, client_id: str,
    store: Literal["rocksdb", "memory"], tables: Sequence[str], changelog_topic: Callable[[str], str],
    commit_interval_s: float = 0.5, max_poll_records: int = 500, stall_s: float = 120.0,
) -> BatchApp:  # fmt: skip
    """An app that has not started; call it in the loop that it will run in.

    `group` is the consumer group's id. The source topic and the changelogs must exist with `partitions` partitions.
    Tables on disk live in `data_dir/<table>-<partition>`, which no other process may use. `stall_s`: without any
    progress for so long, though there is something to do, `run` raises.
    """
    app = FaustApp(
        group, bootstrap=bootstrap, source_topic=source_topic, partitions=partitions,
        **_settings(bootstrap, client_id, partitions, commit_interval_s, max_poll_records),
    )  # fmt: skip
    cache = new_cache()

    def open_store(table: str, partition: int) -> Store:
        return MemoryStore() if store == "memory" else DiskStore(data_dir / f"{table}-{partition}", cache)

    for name in tables:
        table = BatchTable(
            app, name=name, changelog=changelog_topic(name), partitions=partitions, open_store=partial(open_store, name)
        )
        app.tables.add(table)
        app.tables_by_name[name] = app.tables_of[table.changelog] = table
    return BatchApp(app, stall_s)


def _settings(
    bootstrap: str, client_id: str, partitions: int, commit_interval_s: float, max_poll_records: int
) -> dict[str, Any]:
    """Everything that Faust would otherwise decide by itself."""
    return {
        "broker": "kafka://" + bootstrap.replace(",", ";"),
        "broker_client_id": client_id,
        "broker_session_timeout": 30.0,
        "broker_heartbeat_interval": 3.0,
        "broker_rebalance_timeout": 60.0,
        "broker_request_timeout": 30.0,
        "broker_max_poll_interval": 86_400.0,
        "broker_max_poll_records": max_poll_records,
        "broker_commit_interval": commit_interval_s,
        "broker_commit_every": 1_000,
        "broker_check_crcs": True,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": 1024 * 1024,
        "consumer_metadata_max_age_ms": 60_000,
        "processing_guarantee": "at_least_once",
        "producer_acks": -1,
        "producer_request_timeout": 30.0,
        "producer_threaded": False,
        "stream_buffer_maxsize": 1_000,
        "stream_wait_empty": True,
        "stream_publish_on_commit": False,
        "stream_recovery_delay": 0.0,
        "recovery_consistency_check": False,  # BatchRecovery heals what this would crash on
        "store": "memory://",
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": partitions,
        "topic_replication_factor": 1,
        "autodiscover": False,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
    }


def _ours(error: BaseException) -> HookstreamError:
    if isinstance(error, HookstreamError):
        return error
    ours = Unavailable if isinstance(error, KafkaError) else Defect
    wrapped = ours(f"Faust has failed: {error!r}")
    wrapped.__cause__ = error
    return wrapped


def _abandon(service: Any) -> None:
    """Cancel whatever tasks a service and its children still have."""
    for child in service._children:
        if isinstance(child, Service):
            _abandon(child)
    for task in list(service._futures):
        task.cancel()
