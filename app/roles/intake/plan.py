"""The plan of a slice of an input's records: the records of events.raw and events.rejected that it causes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from app.core.errors import Defect, MalformedEvent
from app.core.inputs.catalog import Inputs
from app.core.inputs.mapping import CompiledInput, MappedEvent
from app.core.inputs.record_values import InputRecord
from app.core.inputs.wire_format import Decode
from app.core.records.headers import RecordHeader, size_of
from app.core.records.record import ConsumedRecord
from app.core.records.rejected import rejected_record

#: records and bytes of one slice; between two slices other tasks have their turn
SLICE_RECORDS = 200
SLICE_BYTES = 1024 * 1024


class IntakeRules(msgspec.Struct, frozen=True, kw_only=True):
    """The physical names of the topics that intake writes, and sizes in bytes."""

    events: str
    rejected: str
    max_event_bytes: int
    max_rejected_bytes: int


class PlannedAppend(msgspec.Struct, frozen=True):
    """A record to append; Kafka's partitioner chooses the partition by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[RecordHeader]


class IntakePlan(msgspec.Struct, kw_only=True):
    """Everything that one slice causes."""

    appends: list[PlannedAppend] = msgspec.field(default_factory=list)
    #: (input, `event`, `rejected` or `skipped`) → number of records
    results: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    #: the reason of each rejected record
    rejections: list[str] = msgspec.field(default_factory=list)


def slices(records: Sequence[ConsumedRecord]) -> Iterator[Sequence[ConsumedRecord]]:
    """The records in order, in slices of at most `SLICE_RECORDS` and, beyond one record, about `SLICE_BYTES`."""
    begin, size = 0, 0
    for at, record in enumerate(records):
        if at > begin and (at - begin >= SLICE_RECORDS or size >= SLICE_BYTES):
            yield records[begin:at]
            begin, size = at, 0
        size += size_of(record)
    if begin < len(records):
        yield records[begin:]


def input_of(inputs: Inputs, topic: str) -> CompiledInput:
    """The input that reads a topic of the subscription."""
    reader = inputs.of(topic)
    if reader is None:
        raise Defect(f"no input reads {topic}, but the group is subscribed to it")
    return reader


def plan_slice(
    mapping: CompiledInput,
    topic: str,
    records: Sequence[ConsumedRecord],
    rules: IntakeRules,
    decoders: Mapping[int, Decode],
) -> IntakePlan:
    """What records of one partition cause, in their order. `decoders`: by the ids of schemas that the records name."""
    plan = IntakePlan()
    for record in records:
        try:
            mapped = mapping.event_of(_input_record(topic, record), decoders)
        except MalformedEvent as error:
            key, value, headers = rejected_record(
                record,
                error,
                topic=topic,
                partition=record.partition,
                max_value_bytes=rules.max_event_bytes,
                max_record_bytes=rules.max_rejected_bytes,
            )
            plan.appends.append(PlannedAppend(rules.rejected, key, value, headers))
            plan.rejections.append(error.reason)
            plan.results[mapping.name, "rejected"] += 1
            continue
        if isinstance(mapped, MappedEvent):
            plan.appends.append(PlannedAppend(rules.events, mapped.key, mapped.value, mapped.headers))
            plan.results[mapping.name, "event"] += 1
        else:
            plan.results[mapping.name, "skipped"] += 1
    return plan


def _input_record(topic: str, record: ConsumedRecord) -> InputRecord:
    return InputRecord(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
