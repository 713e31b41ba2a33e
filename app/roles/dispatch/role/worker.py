"""The dispatch role: poll deliveries, offer them to the lanes, commit.

Rules of this folder
- An offset is finished only by `Settler`, after the acknowledgement of everything that its delivery caused.
- Polling stops only while too much is open in total; a single endpoint's overflow is deferred instead.
- After a revocation nothing of the old assignment counts: each delivery carries its `OpenPartition`, which
  records the revocation.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

import structlog

from app.core.errors import Defect
from app.core.offsets.partitions import CommittedOffset, OpenPartition, PartitionId
from app.core.offsets.progress import PartitionProgress, progress_of
from app.core.records import delivery as delivery_record
from app.core.records import headers
from app.core.subjects import SubjectVault
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock, Randomness
from app.ports.consumer import GroupConsumer, Record
from app.ports.http import Sender
from app.ports.metrics import EndpointMeter, Meter
from app.ports.producer import GroupingProducer
from app.ports.registry import DirectoryFeed
from app.ports.secrets import KeyRing
from app.ports.tracing import Tracer
from app.roles.committer import ConsumerRole
from app.roles.dispatch.lanes import LaneLimits
from app.roles.dispatch.ordered_deliveries import OrderedDeliveries
from app.roles.dispatch.role.delivery_sender import DeliverySender
from app.roles.dispatch.role.lane_workers import LaneWorkers
from app.roles.dispatch.role.ordered_intake import OrderedIntake
from app.roles.dispatch.role.settler import OpenDelivery, Settler
from app.roles.dispatch.role.traced_sender import TracedDeliverySender

logger = structlog.get_logger(__name__)

#: deliveries that may be open at once in one worker: as many as a crash may repeat
MAX_OPEN = 10_000
#: and their values' bytes
MAX_OPEN_BYTES = 256 * 1024 * 1024
#: records of one poll; reading far ahead of sending only costs memory
_POLLED = 500
_FULL_S = 0.005
_REVOKE_WAIT_S = 3.0


class DispatchRole(ConsumerRole):
    """One dispatch worker."""

    _name = "dispatch"

    def __init__(
        self,
        *,
        source: GroupConsumer,
        producer: GroupingProducer,
        sender: Sender,
        feed: DirectoryFeed,
        keyring: KeyRing,
        topics: Topics,
        clock: Clock,
        dice: Randomness,
        meter: Meter,
        limits: LaneLimits,
        time_scale: float = 1.0,
        least_wait_ms: int = 86_400_000,
        stop_s: float = _REVOKE_WAIT_S,
        tracer: Tracer | None = None,
        endpoint_meter: EndpointMeter | None = None,
        subjects: SubjectVault | None = None,
    ) -> None:
        super().__init__(source, clock, meter)
        self._stop_s = stop_s
        self._producer = producer
        self._feed = feed
        self._max_record_bytes = topics.max_record_bytes
        ordered: OrderedDeliveries[OpenDelivery] = OrderedDeliveries()
        self._settler = Settler(
            producer, topics, clock, meter, self._fail, self._committer, ordered, traced=tracer is not None
        )
        self._intake = OrderedIntake(ordered, self._settler, clock)
        self._sender = _sender_class(tracer, topics)(
            sender=sender,
            feed=feed,
            keyring=keyring,
            settler=self._settler,
            clock=clock,
            dice=dice,
            meter=meter,
            time_scale=time_scale,
            least_wait_ms=least_wait_ms,
            readmit=self._admit,
            endpoint_meter=endpoint_meter,
            subjects=subjects,
        )
        self._lane_workers = LaneWorkers(
            sender=self._sender,
            committer=self._committer,
            intake=self._intake,
            settler=self._settler,
            clock=clock,
            meter=meter,
            limits=limits,
            on_failure=self._fail,
        )

    def _loops(self) -> Sequence[Coroutine[None, None, None]]:
        return self._poll_loop(), self._lane_workers.sweep_loop(), self._settler.dead_letter_log.run()

    def _progress(self) -> dict[PartitionId, PartitionProgress]:
        full = self._has_enough()
        progress = {}
        for partition in self._partitions.of(self._partitions.places()):
            waits = full or (partition.watermark is not None and partition.watermark.open)
            # Requests in flight may wait for their timeout.
            progress[partition.place] = progress_of(
                partition, self._source.position(partition.place), self._sender.answered_by_s if waits else None
            )
        return progress

    async def _drain(self) -> None:
        self._lane_workers.clear()
        await self._until_settled(self._partitions.places(), self._stop_s)
        await self._lane_workers.stop()
        await self._settler.stop()

    # --- partitions ---------------------------------------------------------------------------------------------

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        ends = await self._source.ends(places)
        await super().assigned(places)
        self._intake.assigned(self._partitions, ends)
        self._settler.assigned(places)
        self._lane_workers.assigned(places)

    async def revoked(self, places: set[PartitionId]) -> None:
        """Wait (bounded) for requests in flight, commit, and drop the rest: the next owner sends it."""
        leaving = self._partitions.of(places)
        in_time = self._committer.sure()
        for partition in leaving:
            partition.active = False
            partition.ours = in_time
        if in_time:
            await self._until_settled(places, _REVOKE_WAIT_S)
            for partition in leaving:
                partition.ours = False  # later retries would not be covered by the commit
            await self._committer.commit()
        self._partitions.remove(places)

    async def _until_settled(self, places: set[PartitionId], seconds: float) -> None:
        """Wait (bounded) until nothing of these partitions is in flight or awaits an acknowledgement."""
        deadline = self._clock.monotonic() + seconds
        while self._partitions.busy(places) and not self._has_failed() and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)

    # --- intake -------------------------------------------------------------------------------------------------

    async def _poll_loop(self) -> None:
        while True:
            await self._producer.room()
            while self._has_enough():
                await self._clock.sleep(_FULL_S)
                self._catch_up()
            batches = await self._source.poll(timeout_ms=1000, max_records=_POLLED)
            polled_at = self._clock.monotonic()
            # Looked up before the first await: afterwards the same partition may be another assignment.
            taken = [(self._partitions.get(place), records) for place, records in batches.items()]
            await self._committer.certainty()
            for partition, records in taken:
                if partition is not None:
                    await self._take_in(partition, records, polled_at)
            self._partitions.read_to(self._source.position)
            self._catch_up()

    def _catch_up(self) -> None:
        self._lane_workers.catch_up(self._source.position)
        self._lane_workers.send_ready()

    def _has_enough(self) -> bool:
        return (
            self._lane_workers.saturated()
            or self._partitions.open >= MAX_OPEN
            or self._partitions.open_bytes >= MAX_OPEN_BYTES
        )

    async def _take_in(self, partition: OpenPartition, records: Sequence[Record], polled_at: float) -> None:
        for record in records:
            if not partition.active:
                return
            size = len(record.value or b"")
            if not partition.opened(record.offset, size):
                continue
            try:
                if headers.size_of(record) > self._max_record_bytes:
                    raise Defect("it is larger than a delivery can be")
                delivery, position = delivery_record.decode(record.key, record.value, record.headers)
            except Defect as error:
                logger.error("dispatch.unreadable", place=partition.place, offset=record.offset, error=str(error))
                self._meter.count("records_unreadable_total", topic=TopicName.DELIVERIES)
                partition.finished(record.offset, size)
                continue
            if position > self._feed.position:
                await self._feed.catch_up(polled_at)  # not up to `position`: the registry may never get there
            if not self._sender.is_active(delivery.endpoint_id):
                await self._feed.catch_up(polled_at)  # it may be active again
            if not partition.active:
                return
            self._lane_workers.enter(OpenDelivery(delivery, partition, record.offset))

    def _admit(self, work: OpenDelivery) -> None:
        self._lane_workers.admit(work)


def _sender_class(tracer: Tracer | None, topics: Topics) -> Callable[..., DeliverySender]:
    """What sends deliveries; it has nothing to do with tracing unless that is on."""
    if tracer is None:
        return DeliverySender
    return partial(TracedDeliverySender, tracer, topics.name(TopicName.DELIVERIES))
