"""Sample how far behind the groups are: in records, and in seconds (the age of the oldest unfinished record)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import AioAdmin, AioConsumer, KafkaClients
from app.adapters.kafka.offsets import preload_metadata
from app.core.offsets.partitions import PartitionId
from app.core.offsets.progress import GroupSpan
from app.core.topics.declarations import Topics
from app.core.topics.names import RUNGS, TopicName
from app.ports.clock import Clock
from app.ports.metrics import Meter

logger = structlog.get_logger(__name__)

EVERY_S = 5.0
#: of so many samples, one asks for the committed offsets of all groups: another program may have reset them
_WHOLE_EVERY = 12
#: seconds after which a query fails
_ANSWER_S = 5.0
_CLOSE_S = 3.0

#: called with each sample of a group; None: Kafka does not answer
OnSample = Callable[[str, Mapping[PartitionId, GroupSpan] | None], None]


class LagSampler:
    """Runs beside the roles.

    A sample costs one request for the ends of all topics, one for each group whose topics have grown or that lags, and
    one fetch for each lagging topic.
    """

    def __init__(
        self,
        clients: KafkaClients,
        groups: Mapping[str, Sequence[str]],
        topics: Topics,
        clock: Clock,
        meter: Meter,
        *,
        partitions: Callable[[str], int],
        every_s: float = EVERY_S,
        on_sample: OnSample = lambda group, spans: None,
    ) -> None:
        """`groups`: consumer group → its topics, which may change. `partitions` returns the number of partitions."""
        self._clients = clients
        self._groups = groups
        self._rungs = {topics.name(f"{TopicName.DELIVERIES_DELAY}.{name}"): name for name, _ in RUNGS}
        #: queried with each sample: every role may wait for it, so without its answer no role counts as stuck
        self._registry = TopicPartition(topics.name(TopicName.REGISTRY), 0)
        self._clock = clock
        self._meter = meter
        self._partitions = partitions
        self._every_s = every_s
        self._on_sample = on_sample
        #: group and topic → the sum of the offsets that were committed at the last sample
        self._committed: dict[tuple[str, str], int] = {}
        #: group → its last sample, if it did not lag
        self._caught_up: dict[str, dict[PartitionId, GroupSpan]] = {}
        self._samples = 0

    async def run(self) -> None:
        """Sample until cancelled; retry while the broker is unreachable."""
        while True:
            try:
                await self._with_clients()
            except (KafkaError, OSError, ValueError, TimeoutError) as error:
                logger.debug("lag.unknown", error=repr(error))  # ClusterWatch reports the outage
            except Exception:  # otherwise the watchdog would silently get no samples
                logger.exception("lag.failed")
            self._caught_up.clear()
            for group, names in self._groups.items():
                self._on_sample(group, None)
                self._forget(group, names)
            await self._clock.sleep(self._every_s)

    def _forget(self, group: str, names: Sequence[str]) -> None:
        """Remove the gauges, because neither the last lag nor 0 would be correct."""
        for name in names:
            self._meter.forget("consumer_lag_records", group=group, topic=name)
            if name in self._rungs:
                self._meter.forget("retry_backlog", rung=self._rungs[name])
            else:
                self._meter.forget("consumer_lag_seconds", group=group, topic=name)

    async def _with_clients(self) -> None:
        admin = self._clients.admin("hookstream-lag")
        asker, reader = (self._clients.consumer("hookstream-lag", max_partition_fetch_bytes=1024) for _ in range(2))
        try:
            async with asyncio.timeout(_ANSWER_S):
                await admin.start()
                await asker.start()
                await reader.start()
            asked: list[TopicPartition] = []
            while True:
                places = [place for names in self._groups.values() for place in self._places(names)]
                if places != asked:  # the topics of inputs come and go
                    asked = places
                    self._caught_up.clear()
                    preload_metadata(asker, [*asked, self._registry])
                async with asyncio.timeout(_ANSWER_S):  # aiokafka itself retries for ever
                    ends = await asker.end_offsets({*asked, self._registry})
                if self._samples % _WHOLE_EVERY == 0:
                    self._caught_up.clear()
                self._samples += 1
                for group, names in self._groups.items():
                    if not self._still_caught_up(group, ends):
                        await self._sample(admin, asker, reader, group, names, ends)
                await self._clock.sleep(self._every_s)
        finally:
            await asyncio.wait(
                [asyncio.ensure_future(each) for each in (admin.close(), asker.stop(), reader.stop())], timeout=_CLOSE_S
            )

    def _places(self, names: Sequence[str]) -> list[TopicPartition]:
        return [TopicPartition(name, number) for name in names for number in range(self._partitions(name))]

    def _still_caught_up(self, group: str, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether nothing was appended for a group since a sample without lag; then that sample is repeated."""
        spans = self._caught_up.get(group)
        if spans is None or any(ends[TopicPartition(*place)] != span.end for place, span in spans.items()):
            return False
        self._on_sample(group, spans)
        return True

    async def _sample(
        self,
        admin: AioAdmin,
        asker: AioConsumer,
        reader: AioConsumer,
        group: str,
        names: Sequence[str],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        places = self._places(names)
        if not places:
            self._on_sample(group, {})
            return
        async with asyncio.timeout(_ANSWER_S):
            committed = await admin.list_consumer_group_offsets(group)
            begins = await asker.beginning_offsets([place for place in places if place not in committed])
        ats = {place: committed[place].offset if place in committed else begins.get(place, 0) for place in places}
        spans = {(place.topic, place.partition): GroupSpan(at, ends[place]) for place, at in ats.items()}
        self._on_sample(group, spans)
        self._caught_up.pop(group, None)
        if all(span.begin >= span.end for span in spans.values()):
            self._caught_up[group] = spans
        for name in names:
            self._count_commits(group, name, sum(each.offset for at, each in committed.items() if at.topic == name))
            behind = {place: at for place, at in ats.items() if place.topic == name and ends[place] > at}
            records = sum(ends[place] - at for place, at in behind.items())
            self._meter.gauge("consumer_lag_records", records, group=group, topic=name)
            if name in self._rungs:
                self._meter.gauge("retry_backlog", records, rung=self._rungs[name])
            else:
                age = await self._oldest_age_s(reader, behind)
                self._meter.gauge("consumer_lag_seconds", age, group=group, topic=name)

    def _count_commits(self, group: str, name: str, total: int) -> None:
        """Count how far the commits have moved since the last sample; a reset to earlier offsets is not counted."""
        moved = total - self._committed.get((group, name), total)
        self._committed[group, name] = total
        self._meter.count("committed_offsets_total", max(0, moved), group=group, topic=name)

    async def _oldest_age_s(self, reader: AioConsumer, behind: Mapping[TopicPartition, int]) -> float:
        if not behind:
            return 0.0
        reader.assign(list(behind))
        for place, offset in behind.items():
            reader.seek(place, offset)
        oldest = self._clock.now_ms()
        for _ in behind:
            batches = await reader.getmany(timeout_ms=200, max_records=1)
            for records in batches.values():
                oldest = min(oldest, records[0].timestamp)
            if batches:
                reader.pause(*batches)
        return max(0.0, (self._clock.now_ms() - oldest) / 1000)
