"""The delay role: one loop for all rungs of the ladder. A delivery returns to `deliveries` at its own due time.

This is the shell: roles/delay/ladder.py decides. It polls the partitions that are worth reading, releases records or
moves them down, and commits. It polls at most once a second unless a record is due.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import assert_never

import structlog

from app.core.offsets.partitions import CommittedOffset, OpenPartition, PartitionId
from app.core.offsets.progress import PartitionProgress, progress_of
from app.core.records import delivery, headers
from app.core.topics.declarations import Topics
from app.core.topics.names import RUNGS, TopicName, rung_for
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer, Record
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer
from app.roles.committer import ConsumerRole
from app.roles.delay.ladder import Ladder, MoveDown, ReleaseDue

logger = structlog.get_logger(__name__)

#: records held in memory until their due time, in one process
_CAPACITY = 20_000
#: and their values' bytes
_CAPACITY_BYTES = 256 * 1024 * 1024
_IDLE_POLL_MS = 1000
_FIRST_RUNG = RUNGS[0][0]


class _Waiting:
    __slots__ = ("due_ms", "partition", "record")

    def __init__(self, partition: OpenPartition, record: Record, due_ms: int) -> None:
        self.partition = partition
        self.record = record
        self.due_ms = due_ms


class DelayRole(ConsumerRole):
    """One delay worker."""

    _name = "delay"

    def __init__(
        self, *, source: GroupConsumer, producer: GroupingProducer, topics: Topics, clock: Clock, meter: Meter
    ) -> None:
        super().__init__(source, clock, meter)
        self._producer = producer
        self._deliveries = topics.name(TopicName.DELIVERIES)
        self._max_record_bytes = topics.max_record_bytes
        self._rung_topic = {name: topics.name(f"{TopicName.DELIVERIES_DELAY}.{name}") for name, _ in RUNGS}
        self._rung_name = {topic: name for name, topic in self._rung_topic.items()}
        self._rung_ms = {
            self._rung_topic[name]: 0 if name == _FIRST_RUNG else int(seconds * 1000) for name, seconds in RUNGS
        }
        self._ladder: Ladder[_Waiting] = Ladder(capacity=_CAPACITY, capacity_bytes=_CAPACITY_BYTES)
        self._paused: set[PartitionId] = set()

    def _loops(self) -> Sequence[Coroutine[None, None, None]]:
        return (self._pump(),)

    async def _drain(self) -> None:
        """Nothing to end: records that are not acknowledged are read again."""

    def _progress(self) -> dict[PartitionId, PartitionProgress]:
        waiting = self._ladder.waiting(lambda each: each.partition.place)
        now_ms = self._clock.now_ms()
        progress = {}
        for partition in self._partitions.of(self._partitions.places()):
            number, next_ms = waiting.get(partition.place, (0, 0))
            read = self._source.position(partition.place)
            mark = partition.watermark
            unsettled = mark is not None and mark.open > number  # appended elsewhere and not acknowledged yet
            if unsettled or (number and next_ms <= now_ms):
                progress[partition.place] = progress_of(partition, read)
            elif self._ladder.reading(partition.place):
                progress[partition.place] = PartitionProgress(read)
            # A partition whose records are not due yet does not lag.
        return progress

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        await super().assigned(places)
        self._paused -= set(places)

    async def revoked(self, places: set[PartitionId]) -> None:
        """Commit and drop the records in memory; the next owner reads it again."""
        await self._committer.commit()
        self._partitions.remove(places)
        self._ladder.forget(places, lambda waiting: waiting.partition.place)

    async def _pump(self) -> None:
        while True:
            await self._producer.room()
            for place, records in (await self._source.poll(timeout_ms=self._patience_ms())).items():
                self._take_in(place, records)
            self._partitions.read_to(self._source.position)
            await self._committer.certainty()
            for action in self._ladder.step(self._clock.now_ms()):
                self._execute(action)
            self._steer()
            self._measure()

    def _patience_ms(self) -> int:
        wake_ms = self._ladder.next_ms()
        if wake_ms is None:
            return _IDLE_POLL_MS
        return max(0, min(_IDLE_POLL_MS, wake_ms - self._clock.now_ms()))

    def _take_in(self, place: PartitionId, records: Sequence[Record]) -> None:
        partition = self._partitions.get(place)
        if partition is None:
            return
        rung_ms, now_ms = self._rung_ms[place[0]], self._clock.now_ms()
        for record in records:
            size = len(record.value or b"")
            if not partition.opened(record.offset, size):
                continue
            if headers.size_of(record) > self._max_record_bytes:
                logger.error(
                    "delay.unreadable", place=place, offset=record.offset, error="larger than a delivery can be"
                )
                self._meter.count("records_unreadable_total", topic=TopicName.DELIVERIES_DELAY)
                partition.finished(record.offset, size)
            else:
                due_ms = delivery.due_at_ms(record.headers, now_ms)
                waiting = _Waiting(partition, record, due_ms)
                self._ladder.add(
                    place, waiting, appended_ms=record.timestamp, due_ms=due_ms, rung_ms=rung_ms, size=size
                )

    def _execute(self, action: ReleaseDue[_Waiting] | MoveDown[_Waiting]) -> None:
        waiting = action.item
        record, partition = waiting.record, waiting.partition
        if not partition.active:
            return
        match action:
            case MoveDown():
                topic = self._rung_topic[rung_for(action.wait_s, RUNGS)]
            case ReleaseDue():
                topic = self._deliveries
                late_s = max(0.0, (self._clock.now_ms() - waiting.due_ms) / 1000)
                self._meter.observe("retry_lateness_seconds", late_s, rung=self._rung_name[partition.place[0]])
            case _:
                assert_never(action)
        size = len(record.value or b"")
        group = self._producer.bundle(lambda: partition.finished(record.offset, size), self._fail)
        group.append(topic, key=record.key, value=record.value, headers=record.headers, partition=partition.number)
        group.close()

    def _measure(self) -> None:
        dues = self._ladder.oldest_due_ms(lambda waiting: waiting.partition.place)
        now_ms = self._clock.now_ms()
        for topic, rung in self._rung_name.items():
            age_s = (now_ms - dues.get(topic, now_ms)) / 1000
            self._meter.gauge("retry_oldest_due_age_seconds", max(0.0, age_s), rung=rung)

    def _steer(self) -> None:
        """Pause partitions whose head waits; resume the others."""
        assigned = self._partitions.places()
        stop = {place for place in assigned if not self._ladder.reading(place)} - self._paused
        go = {place for place in self._paused & assigned if self._ladder.reading(place)}
        if stop:
            self._source.pause(*stop)
        if go:
            self._source.resume(*go)
        self._paused = (self._paused | stop) - go
