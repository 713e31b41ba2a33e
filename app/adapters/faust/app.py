"""Faust, made safe: one Faust event is all records of one partition of one poll, and commits are our own.

Rules of this file (each learned by running stock Faust 0.15.3 against a broker; private API is used on purpose, the
version is pinned, and tests/integration/test_fanout.py holds it to this)
- Offsets are committed only after every batch before them was marked `done`; a batch that is never marked
  holds the commit before it forever.
- Polling of a partition pauses while its unfinished batches exceed a limit, so that Faust's single queue for all
  partitions never fills.
- The agent's body never raises: a failure ends the app, and the role builds another one.
- After a recovery or rebalance, reading begins at the group's committed offset, or at the beginning of the log if
  there is none. Records fetched before that moment are dropped and do not count as read.
- Tables are written per batch: the local store at once, the changelog by our own producer, whose acknowledgements the
  batch awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import faust
import structlog
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from app.adapters.faust.batch_track import BatchTrack, backlogged
from app.adapters.faust.store_options import StoreOptions
from app.adapters.faust.tables import BatchTable
from app.adapters.kafka.clients import CONSUMER_TIMEOUT_MS, ISOLATION_LEVEL, MISSING_RIGHTS
from app.adapters.kafka.internals import FetchTuning, read_position
from app.adapters.kafka.log_moves import GroupLogs
from app.core.errors import LogMoved
from app.core.offsets.commit_marks import COMMIT_MARK, MOVED_MARK
from app.core.offsets.log_moves import unstamp
from app.core.offsets.progress import PartitionProgress
from app.core.table_recovery import PLAIN, TableRecovery

logger = structlog.get_logger(__name__)
#: seconds that a stop or a rebalance waits for the outputs of batches in progress
_DRAIN_S = 5.0
_FETCH_WAIT_MS = 250


class PolledBatch(NamedTuple):
    """The value of a batch's message."""

    at: float
    records: Sequence[Any]


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = ISOLATION_LEVEL  # Faust's own choice depends on its transactions
        consumer._auto_offset_reset = "none"  # reading again from another offset must not happen silently
        self.logs = GroupLogs(consumer, MOVED_MARK)
        # Faust fixes 1500 ms. A partition that is not part of the current fetch would wait that long for the next one.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        consumer._consumer_timeout = CONSUMER_TIMEOUT_MS / 1000
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit with our mark. False during a rebalance or an outage: the next commit includes the same offsets."""
        mine = self.assignment()
        marked = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, self.logs.stamp(tp.topic, COMMIT_MARK))
            for tp, offset in offsets.items()
            if tp in mine
        }
        if self.logs.moved & marked.keys():
            return False
        try:
            await self._ensure_consumer().commit(marked)
        except KafkaError as error:
            logger.info("stream.commit_skipped", error=repr(error))
            return False
        return True

    async def marks(self, tps: Collection[TP]) -> dict[TP, str]:
        """The marks in the partitions' commits. Raises `LogMoved` if a topic was recreated since."""
        places = {driver.ensure_aiokafka_TP(tp): tp for tp in tps}
        committed = await self.call_thread(self._ensure_consumer()._coordinator.fetch_committed_offsets, list(places))
        ours = {place: offset.offset for place, offset in committed.items() if offset.offset >= 0}
        stamps = {place: unstamp(committed[place].metadata or "") for place in ours}
        origins = {place: (ours.get(place), stamps[place][0] if place in stamps else "") for place in places}
        moved = await self.call_thread(self.logs.assigned, origins)
        if moved is not None:
            raise moved
        return {places[place]: mark for place, (_, mark) in stamps.items()}

    async def lost(self, tps: Mapping[TP, int]) -> None:
        """Raise `LogMoved` for positions that cannot be read."""
        raise await self.call_thread(self.logs.lost, {driver.ensure_aiokafka_TP(tp): at for tp, at in tps.items()})


class _Consumer(driver.Consumer):
    def on_init(self) -> None:
        super().on_init()
        self.tracks: dict[TP, BatchTrack] = {}
        self.starts: dict[TP, int] = {}
        #: partitions whose committed offset was not ours when reading began
        self.reset: set[TP] = set()
        #: partitions whose logs have moved and that have not been read since
        self.moved: set[TP] = set()
        #: number of times that reading (re)started from committed offsets
        self.assignments = 0
        self._tuning = FetchTuning(_FETCH_WAIT_MS, gathers=True)
        #: True from the beginning of a stop or a rebalance until reading restarts
        self.leaving = False
        self._freed = asyncio.Event()
        self._no_fetch = asyncio.Event()
        self._no_fetch.set()
        self._seeking = asyncio.Lock()

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _wait_next_records(self, timeout: float) -> Any:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if not self._readable():
            self._freed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), timeout)
            return {}, set()
        self._no_fetch.clear()
        try:
            return await super()._wait_next_records(timeout)
        finally:
            self._no_fetch.set()

    def _readable(self) -> bool:
        """Whether some partition may be polled, or no partition is assigned yet."""
        active = self._get_active_partitions()
        return not active or bool(active - backlogged(self.tracks))

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if active_partitions:
            active_partitions = active_partitions - backlogged(self.tracks)
            if not active_partitions:
                return {}
        if self.app.failed:
            await asyncio.sleep(timeout)  # until it is stopped
            return {}
        try:
            records = await super()._getmany(active_partitions, timeout)
        except NoOffsetForPartitionError as error:
            await self._thread.seek_to_beginning(error.args[0])
            return {}
        except OffsetOutOfRangeError as error:
            await self._out_of_range(error.args[0])
            return {}
        except MISSING_RIGHTS as error:  # which Faust would log with a traceback
            self.app.fail(error)
            return {}
        self._thread.logs.read([driver.ensure_aiokafka_TP(tp) for tp in records])
        return records

    async def _out_of_range(self, positions: Mapping[TP, int]) -> None:
        lost = {tp: position for tp, position in positions.items() if tp.topic in self.app.batched_topics}
        if lost:
            await self._end(partial(self._thread.lost, lost))
        else:  # a changelog: the table consists of the records that are left
            logger.warning("stream.changelog_moved", positions={str(tp): at for tp, at in positions.items()})
            await self._thread.seek_to_beginning(*map(driver.ensure_aiokafka_TP, positions))

    async def _end(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `work`. None if a log has moved; then the app counts as failed."""
        try:
            return await work()
        except LogMoved as error:
            self.app.fail(error)
            return None

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """One message for each partition's batch; changelog records stay single."""
        records, active = await self._wait_next_records(timeout)
        polled_at = monotonic()
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop or not self.flow_active:
            return
        batched = self.app.batched_topics
        self._pass_markers(records, active)
        fetched = sum(map(len, records.values()))
        self._tuning.polled(self._thread._consumer, fetched, paused=not fetched and bool(backlogged(self.tracks)))
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if not batch or not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in batched:
                message = self._to_message(tp, batch[-1])
                message.value, message.key = PolledBatch(polled_at, batch), None
                size = sum(len(record.value or b"") for record in batch)
                self.tracks.setdefault(tp, BatchTrack()).delivered(batch[0].offset, batch[-1].offset, len(batch), size)
                yield tp, message
            else:
                for record in batch:
                    yield tp, self._to_message(tp, record)

    def _pass_markers(self, records: Mapping[TP, Any], active: Collection[TP] | None) -> None:
        """A poll without records may still have advanced the position past transaction markers."""
        for tp in self.assignment():
            if tp.topic in self.app.batched_topics and (active is None or tp in active) and not records.get(tp):
                position = read_position(self._thread._consumer, driver.ensure_aiokafka_TP(tp))
                if position is not None:
                    self.tracks.setdefault(tp, BatchTrack()).read_to(position)

    async def perform_seek(self) -> None:
        """Seek to the committed offsets while no fetch is in progress, and discard the state of the last assignment."""
        self.stop_flow()
        self._tuning.restart(self._thread._consumer)
        async with self._seeking:
            await self._no_fetch.wait()
            self.tracks.clear()
            await super().perform_seek()
            mine = [tp for tp in self.assignment() if tp.topic in self.app.batched_topics]
            self.starts = {tp: self._read_offset.get(tp) or 0 for tp in mine}
            marks = await self._end(partial(self._thread.marks, mine)) or {}
            self.reset = {tp for tp, mark in marks.items() if mark not in (COMMIT_MARK, MOVED_MARK)}
            self.moved = {tp for tp, mark in marks.items() if mark == MOVED_MARK}
            # aiokafka's seek_to_committed stays where it is when nothing, or 0, is committed
            fresh = [driver.ensure_aiokafka_TP(tp) for tp in mine if not self._read_offset.get(tp)]
            if fresh:
                await self._thread.seek_to_beginning(*fresh)
            self.assignments += 1
            self.leaving = False

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        return None

    def begin(self, message: Any) -> None:
        """One more part of a batch has outputs that are not acknowledged yet."""
        track = self._track_of(message)
        if track is not None:
            track.begin()

    def done(self, message: Any, reached: int) -> None:
        """A part has ended. Offsets count as finished only through this call."""
        track = self._track_of(message)
        if track is not None:
            track.done(message.offset, reached)
            self._freed.set()

    def _track_of(self, message: Any) -> BatchTrack | None:
        """None for a message of an earlier assignment."""
        return self.tracks.get(message.tp) if message.generation_id == self.app.consumer_generation_id else None

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit, if it is higher than the committed one. All commits take their offsets from here."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        track = self.tracks.get(tp)
        offset = track.committable() if track else None
        committed = self._committed_offset.get(tp)
        return offset if offset is not None and offset > (committed or 0) else None

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        return (tp for tp in self.tracks if topics is None or tp in topics or tp.topic in topics)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        before = {tp: self._committed_offset.get(tp) for tp in offsets}
        committed = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not committed:  # Faust has recorded it as committed all the same, and would not retry
            mine = self.assignment()
            self._committed_offset.update({tp: offset for tp, offset in before.items() if tp in mine})
        return committed

    async def wait_empty(self) -> None:
        """Wait (bounded) until the batches in progress are acknowledged, then commit the finished offsets."""
        self.leaving = True
        self._tuning.restart(self._thread._consumer)
        end = monotonic() + _DRAIN_S
        while self._under_way() and monotonic() < end:  # noqa: ASYNC110 - several tracks, any of which may end
            await asyncio.sleep(0.02)
        await self.commit_and_end_transactions()

    def progress(self) -> dict[TP, PartitionProgress]:
        """The progress of each assigned partition of the batched topics."""
        reader = self._thread._consumer if self._thread is not None else None
        progress: dict[TP, PartitionProgress] = {}
        for tp in self.assignment() if reader is not None else ():
            if tp.topic in self.app.batched_topics:
                track = self.tracks.get(tp)
                low = track.lowest() if track is not None else None
                read = read_position(reader, driver.ensure_aiokafka_TP(tp))
                progress[tp] = PartitionProgress(
                    read if low is None else low, (track.moves,) if track is not None else ()
                )
        return progress

    def _under_way(self) -> bool:
        return not self.app.failed and any(track.busy for track in self.tracks.values())

    async def verify_all_partitions_active(self) -> None:
        """Nothing: the watchdog of this service judges the progress of partitions."""

    async def on_task_error(self, exc: BaseException) -> None:
        """An agent failed: commit nothing on its behalf."""


class _Transport(driver.Transport):
    Consumer = _Consumer


class _BatchSchema(Schema):
    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The message's key: always None, batches have no key."""
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The batch, which needs no decoding."""
        return message.value


class BatchApp(faust.App):
    """A Faust app whose consumer hands out batches and commits only finished ones."""

    def __init__(self, *args: Any, batched_topics: frozenset[str], **options: Any) -> None:
        self.batched_topics = batched_topics
        #: an agent's body failed: nothing more is committed, and the app must be replaced by another one
        self.failed = False
        #: called when a log has moved, or a right is missing
        self.on_failure: Callable[[Exception], None] = lambda error: None
        super().__init__(*args, **options)

    def fail(self, error: Exception) -> None:
        """End the app: a log has moved, or a right is missing."""
        self.failed = True
        self.on_failure(error)

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return _Transport(self.conf.broker_producer, self)

    def batch_topic(self, name: str) -> Any:
        """A topic whose stream yields batches."""
        return self.topic(name, schema=_BatchSchema(), allow_empty=True)

    def batch_table(
        self, name: str, partitions: int, ttl_s: int | None = None, recovery: TableRecovery = PLAIN
    ) -> BatchTable:
        """A table of bytes with its changelog `<group>-<name>-changelog`; the store drops entries older than `ttl_s`.

        A store that was created with a TTL must be opened with one, and vice versa.
        """
        table = BatchTable(
            self,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            options={"driver": "rocksdict"},
            recovery_buffer_size=1000,
        )
        table.store_options = StoreOptions(ttl_s)
        table.recovery = recovery
        return self.tables.add(table)  # type: ignore[no-any-return]

    def start_of(self, partition: TP) -> int:
        """The offset at which reading of a partition began after the last assignment."""
        return self.consumer.starts.get(partition, 0)  # type: ignore[no-any-return]

    def was_reset(self, partition: TP) -> bool:
        """Whether the offset at which reading began was committed by another program, such as a reset tool."""
        return partition in self.consumer.reset

    def has_moved(self, partition: TP) -> bool:
        """Whether its log has moved since the last commit, so that offsets remembered from before are meaningless."""
        return partition in self.consumer.moved
