"""Faust's consumer, with offsets of its own: batches instead of records, and commits that never pass unfinished work.

Rules of this file (each one replaces a place where Faust loses events or hangs)
- A `Track` says what may be committed: the first unfinished batch of a partition, else the offset after the last one.
  Nothing else is ever committed; a batch that is never finished holds the commit back for as long as the app lives.
- Reading starts at the committed offset, or at the beginning, and every seek starts new tracks. What was fetched
  before a seek is dropped, what was handed out before it is neither started nor counted any more.
- Changelog records go straight into their tables. Recovery of a partition is over when the read *position* has
  reached its end: a compacted or empty tail cannot hold it up.
- There is no consumer thread. aiokafka runs in the loop of the agent: no hops between threads, no contention for the
  interpreter, and between taking records out of aiokafka and noting them in a track nothing else can happen.
- Waiting is bounded: for batches in work, for a commit, for the goodbye to the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import aiokafka
import structlog
from aiokafka.errors import KafkaError
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_async

from app.adapters.faust_batch import Batch, Track
from app.ports import Record

if TYPE_CHECKING:
    from app.adapters.faust_app import FaustApp

log = structlog.get_logger(__name__)

_DRAIN_S = 3.0
_COMMIT_S = 1.5
_LEAVE_S = 2.0
#: how long the broker may hold a fetch back while there is nothing
_FETCH_IDLE_MS = 500
#: the same while records lie unread in our buffers: their partitions are not in the fetch under way, and wait for it
_FETCH_BUSY_MS = 20


class LoopThread(driver.AIOKafkaConsumerThread):
    """Faust's handle on the aiokafka consumer, made to run in the caller's loop instead of a thread."""

    app: FaustApp
    _consumer: aiokafka.AIOKafkaConsumer | None

    def __init__(self, consumer: BatchConsumer, **kwargs: Any) -> None:
        super().__init__(consumer, thread_loop=asyncio.get_running_loop(), **kwargs)

    async def start(self) -> None:
        """Connect; raises `KafkaError`."""
        self._thread_started.set()
        await self._default_start()

    async def on_start(self) -> None:
        """See `start`; raises `ConfigError` when topics are not what the app needs."""
        try:
            await super().on_start()
            known = await self.kafka._client.fetch_all_metadata()
            self.app.check_topics({topic: len(known.partitions_for_topic(topic) or ()) for topic in known.topics()})
        except BaseException:
            await self.leave()
            raise

    async def stop(self) -> None:
        """Leave the group (bounded)."""
        if self._started.is_set() and not self._stopped.is_set():
            self._stopped.set()
            await self.leave()
            await self._default_stop_futures()

    async def leave(self) -> None:
        """Close the aiokafka consumer within seconds; twice is fine."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            stopping = asyncio.create_task(consumer.stop())
            await asyncio.wait([stopping], timeout=_LEAVE_S)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def crash(self, reason: BaseException) -> None:
        """Fail the whole app."""
        await Service.crash(self, reason)

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call it, here."""
        return await maybe_async(fun(*args, **kwargs))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """See `BatchConsumer.on_partitions_revoked`; aiokafka would only log what it raises."""
        await self._crashing(self.consumer.on_partitions_revoked(revoked))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Rebuild tables, then read; aiokafka would only log what it raises."""
        await self._crashing(self.consumer.on_partitions_assigned(assigned, generation_id))

    async def _crashing(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            await self.crash(error)

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.app.bootstrap,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self.app.assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=_FETCH_IDLE_MS,
            fetch_min_bytes=1,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            check_crcs=conf.broker_check_crcs,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
        )

    @property
    def kafka(self) -> aiokafka.AIOKafkaConsumer:
        """The consumer itself; raises `ConsumerNotStarted`."""
        return self._ensure_consumer()

    async def fetch(self, partitions: set[TP], timeout_s: float) -> Mapping[TP, list[Record]]:
        """Records, as soon as there are any; raises what the group's coordination has died of."""
        kafka = self.kafka
        kafka._coordinator.check_errors()
        with kafka._subscription.fetch_context():
            found: Mapping[TP, list[Record]] = await kafka._fetcher.fetched_records(
                partitions, timeout=timeout_s, max_records=kafka._max_poll_records
            )
        kafka._fetcher._fetch_max_wait_ms = _FETCH_BUSY_MS if kafka._fetcher._records else _FETCH_IDLE_MS
        return found

    async def ends(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """The offsets after the last records; raises `KafkaError`."""
        places = [aiokafka.TopicPartition(*tp) for tp in partitions]
        return {TP(*place): end for place, end in (await self.kafka.end_offsets(places)).items()} if places else {}

    async def seek_to_start(self, partitions: Iterable[TP]) -> tuple[dict[TP, int], dict[TP, int]]:
        """Seek to the committed offsets, or to the beginning where none is or what it says has expired.

        Returns where reading starts, and what was committed.
        """
        kafka = self.kafka
        places = [aiokafka.TopicPartition(tp.topic, tp.partition) for tp in partitions]
        known = await kafka._coordinator.fetch_committed_offsets(places)
        begins = await kafka.beginning_offsets(places) if places else {}
        committed = {TP(*place): said.offset for place, said in known.items() if said.offset >= 0}
        starts = {TP(*place): max(committed.get(TP(*place), 0), begins[place]) for place in places}
        for place in places:
            kafka.seek(place, starts[TP(*place)])
        return starts, committed

    def next_offset(self, tp: TP) -> int | None:
        """The offset that is read next, None while a seek is under way."""
        assignment = self.kafka._subscription.subscription.assignment
        state = assignment.state_value(tp) if assignment else None
        return state.position if state is not None and state.has_valid_position else None

    def keep_fetching(self, partitions: Iterable[TP], on: bool) -> None:
        """Let aiokafka fetch these, or not: Faust alone would leave it filling buffers that nobody reads."""
        kafka = self._consumer
        if kafka is None:
            return
        places = kafka.assignment() & {aiokafka.TopicPartition(tp.topic, tp.partition) for tp in partitions}
        (kafka.resume if on else kafka.pause)(*places)


class BatchConsumer(driver.Consumer):
    """The consumer of an app whose source topic is read in batches and whose tables are `BatchTable`s."""

    app: FaustApp
    _thread: LoopThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracks: dict[TP, Track] = {}
        #: what the group has committed, as far as we know
        self.committed: dict[TP, int] = {}
        self._fetching: asyncio.Task[Mapping[TP, list[Record]]] | None = None
        self._moved = asyncio.Event()
        self._committing = asyncio.Lock()

    def _new_consumer_thread(self) -> LoopThread:
        return LoopThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def thread(self) -> LoopThread:
        """The handle on aiokafka."""
        return self._thread

    # ---- reading

    async def _drain_messages(self, fetcher: Service) -> None:
        try:
            while not self.should_stop and not fetcher.should_stop:
                await self._read()
        except asyncio.CancelledError:
            if not fetcher.should_stop:
                raise

    async def _read(self) -> None:
        self._moved.clear()
        active = self._get_active_partitions()
        if not self.flow_active or not active or self._is_full():
            await self._moved.wait()
            return
        fetching = self._fetching = asyncio.create_task(self._thread.fetch(set(active), timeout_s=1.0))
        try:
            await asyncio.wait([fetching])
        finally:
            fetching.cancel()
        if fetching is self._fetching:  # else the flow was stopped: a seek follows, and it all comes again
            self._fetching = None
            await self._hand_out(fetching.result())

    def stop_flow(self) -> None:
        """Hand out nothing more; a fetch under way ends here, so that none can straddle a seek."""
        super().stop_flow()
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()

    async def _hand_out(self, found: Mapping[TP, list[Record]]) -> None:
        batches = []
        for tp, records in found.items():
            if tp.topic != self.app.source_topic:
                self.app.tables_of[tp.topic].recover(tp.partition, records)
            elif tp in self.tracks:  # else its seek is still to come
                batches.append((tp, self._note(tp, records)))
        self._look_at_recovery()
        for tp, batch in batches:
            message = self._to_message(TP(*tp), batch.records[-1])
            message.key, message.value = None, batch
            if batch.live:
                await self.callback(message)

    def _note(self, tp: TP, records: list[Record]) -> Batch:
        track = self.tracks[tp]
        track.delivered(records[0].offset, records[-1].offset, len(records))
        return Batch(self.app, tp.partition, records, track)

    def _is_full(self) -> bool:
        limit = self.app.in_flight_records
        return sum(track.records for track in self.tracks.values()) >= limit

    def look_again(self) -> None:
        """There may be room for more records."""
        self._moved.set()

    def _look_at_recovery(self) -> None:
        recovery = self.app.tables.recovery
        if not recovery.in_recovery:
            return
        for tp in recovery.active_tps:
            position = self._thread.next_offset(tp)
            if position is not None and tp in self._get_active_partitions():
                recovery.active_offsets[tp] = max(recovery.active_offsets[tp], position - 1)
        if not recovery.need_recovery():
            recovery._set_recovery_ended()
            recovery.signal_recovery_end.set()

    def resume_flow(self) -> None:
        """Read on."""
        super().resume_flow()
        self._moved.set()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Neither hand out nor fetch records of these."""
        tps = set(tps)
        super().pause_partitions(tps)
        self._thread.keep_fetching(tps, False)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch and hand out records of these."""
        tps = set(tps)
        super().resume_partitions(tps)
        self._thread.keep_fetching(tps, True)

    async def perform_seek(self) -> None:
        """Read every source partition from its committed offset, or from its beginning; new tracks."""
        self.stop_flow()
        self._retire()
        sources = [tp for tp in self.assignment() if tp.topic == self.app.source_topic]
        starts, committed = await self._thread.seek_to_start(sources)
        self._retire()
        self.committed = committed
        self.tracks = {tp: Track(start) for tp, start in starts.items()}

    def _retire(self) -> None:
        for track in self.tracks.values():
            track.live = False
        self.tracks = {}

    # ---- committing

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is finished and not yet committed; False: nothing new, or not now (the next call repeats it)."""
        async with self._committing:
            offsets = {
                tp: track.committable
                for tp, track in self.tracks.items()
                if track.committable != self.committed.get(tp, track.start)
            }
            if not offsets:
                return False
            try:
                await self._thread.kafka.commit(
                    {aiokafka.TopicPartition(*tp): offset for tp, offset in offsets.items()}
                )
            except KafkaError as error:
                log.warning("faust.commit_failed", group=self.app.conf.id, error=repr(error))
                return False
            self.committed.update(offsets)
            return True

    async def wait_empty(self) -> None:
        """Let batches in work come to their end and commit what is finished, both within seconds."""
        if not self.should_stop:
            await self.app.pipeline.idle(_DRAIN_S)
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self.commit()
        except TimeoutError:
            log.warning("faust.commit_failed", group=self.app.conf.id, error="no answer")

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish, commit, and forget: from here on nothing of these partitions is ours."""
        await super().on_partitions_revoked(revoked)
        self._retire()

    def close(self) -> None:
        """Faust calls this for a rebalance during the stop, which closes everything itself."""

    async def verify_all_partitions_active(self) -> None:
        """Faust's own suspicions are false alarms on idle topics; `BatchApp` watches progress."""


class BatchTransport(driver.Transport):
    """Makes Faust use our consumer."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer


class BatchSchema(Schema):
    """Values are `Batch`es already: nothing to decode, so no record can fail here."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """None."""
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The batch."""
        return message.value
