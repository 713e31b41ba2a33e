"""The intake role: records of the topics that inputs declare become events of events.raw.

This is the shell: app/core/inputs decides what a record becomes. An offset is finished when everything that its record
causes is acknowledged. A record that is read again causes the same event with the same id, which fan-out recognises.

A partition whose records are encoded with schemas has a task of its own while it waits for them, and is not polled
meanwhile. So an outage of the schema registry delays the inputs that need it, and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from functools import partial

from app.core.inputs.catalog import Inputs
from app.core.inputs.mapping import CompiledInput
from app.core.inputs.wire_format import Decode
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.core.offsets.progress import PartitionProgress, progress_of
from app.core.records.record import ConsumedRecord
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer, Record
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer
from app.ports.schema_registry import SchemaRegistry
from app.roles.committer import ConsumerRole
from app.roles.intake.plan import IntakePlan, IntakeRules, input_of, plan_slice, slices

_POLL_MS = 1000
_POLLED = 1000
#: bytes of values that are read and not acknowledged, in one process; further records wait in Kafka
_MAX_OPEN_BYTES = 64 * 1024 * 1024
_FULL_S = 0.1
#: seconds for which a partition that waits for schemas may be without progress; each report begins them again
_WAITS_S = 60.0


class IntakeRole(ConsumerRole):
    """One intake worker."""

    _name = "intake"

    def __init__(
        self,
        *,
        source: GroupConsumer,
        producer: GroupingProducer,
        inputs: Inputs,
        registry: SchemaRegistry | None,
        rules: IntakeRules,
        clock: Clock,
        meter: Meter,
    ) -> None:
        """`registry` None: no input needs schemas."""
        super().__init__(source, clock, meter)
        self._producer = producer
        self._inputs = inputs
        self._registry = registry
        self._rules = rules
        #: partitions whose records wait for schemas, or are being processed after that
        self._tasks: dict[PartitionId, asyncio.Task[None]] = {}

    def ready(self) -> str | None:
        """See `ConsumerRole`; while records wait for schemas, the reason."""
        waits = self._registry.trouble() if self._registry is not None and self._tasks else None
        return super().ready() or waits

    def _loops(self) -> Sequence[Coroutine[None, None, None]]:
        return (self._pump(),)

    async def _drain(self) -> None:
        await self._cancel(list(self._tasks))
        if self._registry is not None:
            await self._registry.close()

    def _progress(self) -> dict[PartitionId, PartitionProgress]:
        waits_s = self._clock.monotonic() + _WAITS_S
        return {
            each.place: progress_of(
                each, self._source.position(each.place), waits_s if each.place in self._tasks else None
            )
            for each in self._partitions.of(self._partitions.places())
        }

    async def revoked(self, places: set[PartitionId]) -> None:
        """Commit; the next owner reads unacknowledged records again."""
        await self._cancel(places)
        await self._committer.commit()
        self._partitions.remove(places)

    async def _cancel(self, places: Collection[PartitionId]) -> None:
        tasks = [self._tasks.pop(place) for place in places if place in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self) -> None:
        while True:
            await self._producer.room()
            while self._partitions.open_bytes >= _MAX_OPEN_BYTES:
                await self._clock.sleep(_FULL_S)
            for place, records in (await self._source.poll(timeout_ms=_POLL_MS, max_records=_POLLED)).items():
                partition = self._partitions.get(place)
                if partition is None:
                    continue
                mapping = input_of(self._inputs, place[0])
                fresh = [each for each in records if partition.opened(each.offset, len(each.value or b""))]
                if self._registry is not None and mapping.needs_schemas:
                    self._source.pause(place)
                    self._tasks[place] = asyncio.create_task(self._work(self._registry, partition, mapping, fresh))
                else:
                    await self._take_in(partition, mapping, fresh, None)
            self._partitions.read_to(self._source.position)

    async def _work(
        self, registry: SchemaRegistry, partition: OpenPartition, mapping: CompiledInput, records: Sequence[Record]
    ) -> None:
        """Process the records of a paused partition, then resume it."""
        try:
            await self._take_in(partition, mapping, records, registry)
        except Exception as error:  # if it ended silently, its records would stay open for ever
            self._fail(error)
        else:
            if partition.active and self._tasks.pop(partition.place, None) is not None:
                self._source.resume(partition.place)

    async def _take_in(
        self,
        partition: OpenPartition,
        mapping: CompiledInput,
        records: Sequence[Record],
        registry: SchemaRegistry | None,
    ) -> None:
        for part in slices(records):
            decoders: Mapping[int, Decode] = {}
            if registry is not None:
                decoders = await registry.decoders(mapping.schemas(part))
            await self._producer.room()
            await asyncio.sleep(0)  # between two slices, other tasks run
            if not partition.active:
                return  # the partition's next owner reads the rest
            self._append(partition, part, plan_slice(mapping, partition.place[0], part, self._rules, decoders))

    def _append(self, partition: OpenPartition, records: Sequence[ConsumedRecord], plan: IntakePlan) -> None:
        group = self._producer.bundle(partial(_finish, partition, records), self._fail)
        for each in plan.appends:
            group.append(each.topic, key=each.key, value=each.value, headers=each.headers)
        group.close()
        for (name, result), number in plan.results.items():
            self._meter.count("input_records_total", number, input=name, result=result)
        for reason in plan.rejections:
            self._meter.count("events_rejected_total", reason=reason)


def _finish(partition: OpenPartition, records: Sequence[ConsumedRecord]) -> None:
    for record in records:
        partition.finished(record.offset, len(record.value or b""))
