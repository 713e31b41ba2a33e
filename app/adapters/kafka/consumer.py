"""Read partitions as a member of a consumer group, with commits that carry metadata.

A thin layer over aiokafka's consumer. It adds the committed metadata at assignment (aiokafka passes only the offset),
the project's error classes, and rebalance callbacks whose exceptions are raised by the next poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from importlib.metadata import version
from math import inf

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from app.adapters.clock import SystemClock
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.internals import FetchTuning, read_position
from app.adapters.kafka.log_moves import GroupLogs
from app.core.diagnosis.kafka import worker_name
from app.core.errors import Defect
from app.core.offsets.log_moves import unstamp
from app.core.offsets.partitions import CommittedOffset, PartitionId, spans
from app.ports.consumer import RebalanceListener, Record

logger = structlog.get_logger(__name__)

_clock = SystemClock()
_COMMIT_S = 3.0
_STOP_S = 4.0
_CLOSE_S = 1.0


class KafkaGroupConsumer:
    """`app.ports.consumer.GroupConsumer` on aiokafka."""

    def __init__(
        self,
        clients: KafkaClients,
        *,
        group: str,
        client_id: str,
        topics: list[str],
        session_s: float = 10.0,
        instance: str | None = None,
        max_partition_fetch_bytes: int = 1024 * 1024,
        fetch_max_wait_ms: int = 500,
        hold: bool = False,
        together: bool = False,
        pattern: str | None = None,
    ) -> None:
        """`pattern`: a regular expression for names of topics, in place of `topics`; topics that appear later are read,
        too, from their beginning.

        `session_s`: seconds without a heartbeat after which other members get the partitions.

        `instance`: static membership; a member that rejoins under this name within `session_s` gets the same
        partitions, without a rebalance. `together`: partitions with the same number, of all topics, go to the same
        member. `hold`: assigned partitions stay paused until `resume` is called.
        """
        self._clients = clients
        self._group = group
        self._topics = topics
        self._pattern = pattern
        self._commit_failed = False
        self._listener: RebalanceListener | None = None
        self.failure: BaseException | None = None
        self.hold = hold
        self._session_s = session_s
        #: the last time (monotonic) at which we were certainly a member of the group
        self._member_s = -inf
        self._consumer = clients.consumer(
            worker_name(client_id, version("hookstream")),
            group=group,
            auto_offset_reset="none",  # reading again from another offset must not happen silently
            partition_assignment_strategy=(RangePartitionAssignor if together else RoundRobinPartitionAssignor,),
            max_partition_fetch_bytes=max_partition_fetch_bytes,
            fetch_max_wait_ms=fetch_max_wait_ms,
            max_poll_interval_ms=2**31 - 1,  # a role that waits stays a member; the watchdog detects stuck roles
            group_instance_id=instance,
            session_timeout_ms=round(session_s * 1000),
            heartbeat_interval_ms=min(1_000, round(session_s * 250)),
            request_timeout_ms=30_000,
            metadata_max_age_ms=60_000,
        )

        self._logs = GroupLogs(self._consumer)
        #: partitions of the last assignment for which the group has no offset
        self._uncommitted: set[TopicPartition] = set()
        self._tuning = FetchTuning(fetch_max_wait_ms)

    async def start(self, listener: RebalanceListener) -> None:
        """Join the group. A start that fails or is cancelled leaves no member behind that would hold partitions."""
        self._listener = listener
        self._consumer.subscribe(self._topics, self._pattern, listener=_Bridge(self))
        try:
            with self._clients.reachable():
                await self._consumer.start()
        except BaseException:
            await self.stop()
            raise
        self._record_heartbeats()

    def _record_heartbeats(self) -> None:
        """Record when the group last answered a heartbeat, which aiokafka does not expose."""
        coordinator = self._consumer._coordinator
        beat = coordinator._do_heartbeat

        async def recorded_heartbeat() -> bool:
            sent_s = _clock.monotonic()
            alive: bool = await beat()
            if alive:
                self._member_s = max(self._member_s, sent_s)
            return alive

        coordinator._do_heartbeat = recorded_heartbeat

    def lease_s(self) -> float:
        """See `app.ports.consumer.GroupConsumer`."""
        return self._member_s + self._session_s

    async def stop(self) -> None:
        """Leave the group (bounded), without a commit."""
        task = asyncio.create_task(self._consumer.stop())
        done, _ = await asyncio.wait([task], timeout=_STOP_S)
        if not done:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not done:
            await self._disconnect()

    async def _disconnect(self) -> None:
        """Close what aiokafka's stop has not reached, such as while it joins a group: the session then expires."""
        fetcher = self._consumer._fetcher
        parts = [each for each in (fetcher, self._consumer._client) if each is not None]
        await asyncio.wait([asyncio.create_task(each.close()) for each in parts], timeout=_CLOSE_S)

    async def poll(self, *, timeout_ms: int, max_records: int | None = None) -> dict[PartitionId, list[Record]]:
        """Records of all partitions that are not paused, as soon as there are any, or none after `timeout_ms`."""
        if self.failure is not None:
            raise self.failure
        try:
            batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except NoOffsetForPartitionError as error:
            await self._begin(error.args[0])
            return {}
        except OffsetOutOfRangeError as error:
            raise await self._logs.lost(error.args[0]) from None
        if self.failure is not None:
            raise self.failure
        self._logs.read(batches)
        self._tuning.polled(self._consumer, len(batches), paused=not batches and bool(self._consumer.paused()))
        return {(place.topic, place.partition): records for place, records in batches.items()}

    async def _begin(self, place: TopicPartition) -> None:
        """Seek to the beginning in all partitions without a commit at once.

        aiokafka raises the error for one partition at a time. A seek waits for the fetch in progress, up to
        `fetch_max_wait_ms`; one by one, the partitions of all rungs would take most of a minute.
        """
        places = [
            each
            for each in self._uncommitted | {place}
            if each in self._consumer.assignment() and read_position(self._consumer, each) is None
        ]
        self._uncommitted = set()
        if places:
            await self._consumer.seek_to_beginning(*places)

    def pause(self, *places: PartitionId) -> None:
        """Stop fetching these partitions. Records that were fetched but not polled are fetched again after `resume`."""
        self._consumer.pause(*(TopicPartition(*place) for place in places))

    def resume(self, *places: PartitionId) -> None:
        """Fetch these partitions again."""
        self._consumer.resume(*(TopicPartition(*place) for place in places))

    def seek(self, place: PartitionId, offset: int) -> None:
        """See `app.ports.consumer.SeekableConsumer`."""
        self._tuning.restart(self._consumer)
        self._logs.elsewhere.add(TopicPartition(*place))
        self._consumer.seek(TopicPartition(*place), offset)

    async def ends(self, places: Collection[PartitionId]) -> dict[PartitionId, int]:
        """See `app.ports.consumer.GroupConsumer`."""
        ends = await self._consumer.end_offsets([TopicPartition(*place) for place in places]) if places else {}
        return {(place.topic, place.partition): end for place, end in ends.items()}

    def position(self, place: PartitionId) -> int | None:
        """See `app.ports.consumer.GroupConsumer`."""
        return read_position(self._consumer, TopicPartition(*place))

    async def rewind(self, place: PartitionId) -> None:
        """Seek to the offset that is committed now, or to the beginning if there is none."""
        partition = TopicPartition(*place)
        offset = await self._consumer.committed(partition)
        if offset is None:
            await self._consumer.seek_to_beginning(partition)
        else:
            self._consumer.seek(partition, offset)

    def assignment(self) -> set[PartitionId]:
        """The partitions that are assigned to this member now."""
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    async def commit(self, offsets: Mapping[PartitionId, tuple[int, str]]) -> bool:
        """Commit offsets with metadata. False during a rebalance or an outage: include them in the next commit."""
        if not offsets:
            return True
        if any(TopicPartition(*place) in self._logs.moved for place in offsets):
            return False
        try:
            async with asyncio.timeout(_COMMIT_S):  # aiokafka itself retries for ever
                await self._consumer.commit(
                    {
                        TopicPartition(*place): OffsetAndMetadata(offset, self._logs.stamp(place[0], metadata))
                        for place, (offset, metadata) in offsets.items()
                    }
                )
        except TimeoutError:
            self._not_committed(f"no answer within {_COMMIT_S} s")
            return False
        except (
            CommitFailedError,
            IllegalGenerationError,
            UnknownMemberIdError,
            RebalanceInProgressError,
            IllegalStateError,
        ) as error:
            logger.info("source.commit_skipped", error=repr(error))
            return False
        except KafkaError as error:
            self._not_committed(repr(error))
            return False
        self._commit_failed = False
        return True

    def _not_committed(self, error: str) -> None:
        if not self._commit_failed:  # once, until it succeeds again
            logger.warning("source.commit_failed", group=self._group, error=error, action="retry with the next commit")
        self._commit_failed = True

    async def _committed(self, places: list[TopicPartition]) -> dict[PartitionId, CommittedOffset]:
        offsets = await self._consumer._coordinator.fetch_committed_offsets(places)
        committed, origins = {}, {}
        for place in places:
            latest = offsets.get(place)
            offset = latest.offset if latest is not None and latest.offset >= 0 else None
            origin, metadata = unstamp(latest.metadata or "" if latest else "")
            origins[place] = (offset, origin)
            committed[place.topic, place.partition] = CommittedOffset(offset, metadata)
        self._uncommitted = {place for place in places if origins[place][0] is None}
        moved = await self._logs.assigned(origins)
        if moved is not None:
            self.guard(moved)
        return committed

    def stamp(self, topic: str) -> str:
        """The metadata for commits that a transactional producer makes for this group."""
        return self._logs.stamp(topic, "")

    @property
    def listener(self) -> RebalanceListener:
        """The listener that was passed to `start`."""
        if self._listener is None:
            raise Defect("the consumer was not started")
        return self._listener

    def guard(self, error: BaseException) -> None:
        """Remember an exception of a callback, which aiokafka would only log; the next poll raises it."""
        self.failure = self.failure or error


class _Bridge(ConsumerRebalanceListener):
    def __init__(self, source: KafkaGroupConsumer) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._source._tuning.restart(self._source._consumer)
        if self._source._consumer._coordinator.generation < 0:  # removed from the group some time ago
            self._source._member_s = -inf
        if revoked:
            logger.info("partitions.revoked", group=self._source._group, partitions=spans(revoked))
        await self._run(self._source.listener.revoked({(place.topic, place.partition) for place in revoked}))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        # Paused, because aiokafka may hand out records while this callback still waits for the listener.
        places = [(place.topic, place.partition) for place in sorted(assigned)]
        logger.info("partitions.assigned", group=self._source._group, partitions=spans(places))
        self._source._member_s = _clock.monotonic()
        self._source.pause(*places)

        async def notify_listener() -> None:
            await self._source.listener.assigned(await self._source._committed(sorted(assigned)))
            if not self._source.hold:
                self._source.resume(*places)

        await self._run(notify_listener())

    async def _run(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception as error:
            self._source.guard(error)
