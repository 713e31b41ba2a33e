"""The plan of a batch of events.raw: the records and table entries that each slice of it causes.

Rules of this file
- Pure: the same records over the same tables and directory cause the same outputs with the same ids.
- Nothing is decided twice. An event's sequence is fixed when its record is accepted and read from the table ever after.
  A schema is checked before that, and not again.
- A record that is read again is stored again. After a crash a worker's store may be ahead of the changelogs, and one
  changelog ahead of the other. Reading the records again completes both before anything new is numbered. This works
  because sequences are written after the accepted records that carry them (roles/fanout/role.py).
- Where the table of sequences was lost (disk and changelog), an ordering key that is new to it starts behind its
  record's offset. No key can have had more records than that, so receivers see a gap, and never a number twice.
- A delivery to a paused endpoint is parked in deliveries.dead, as decided: with its sequence, and without duplicates,
  which could not be recognised later. A disabled endpoint gets nothing.
- A delivery that must be in order goes to the sequencer also while its endpoint is paused. Only the sequencer
  knows the deliveries ahead of it, and parks it.
- An endpoint with channels gets the events that carry one of them, before its filter is asked.
- The body of an event with a subject is sealed. If its subject was erased since, the event makes no delivery.
- An event that an endpoint's filter refuses makes no delivery for it. It is decoded again for filters, and only if an
  endpoint that subscribes to it has one. Filters are part of a slice's bounded work.
- A batch is planned in slices of bounded records and bytes. Where it is cut changes no id and no sequence. An event
  with many endpoints is cut between two of them, in the order of their ids. Its *checkpoint* says up to which of them
  everything is acknowledged; a worker that reads the event again continues behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import assert_never

import msgspec

from app.core.directory import Directory
from app.core.errors import MalformedEvent
from app.core.filters.verdicts import CompiledFilters, EventVerdicts, JsonFilter
from app.core.model import ids
from app.core.model.channels import carries
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import EventType
from app.core.records.dead_letter import PARKED
from app.core.records.delivery import event_headers, with_delivery
from app.core.records.headers import RecordHeader
from app.core.records.idempotency_entry import AcceptedRecord
from app.core.records.raw_event import Coordinates, data_of, decode_event, fields_of
from app.core.records.record import ConsumedRecord
from app.core.schemas.rules import Violation
from app.core.subjects import LEFT_OUT, SubjectVault
from app.roles.fanout import idempotency, reset_detection
from app.roles.fanout.dropped_records import duplicate_record, rejected_record
from app.roles.fanout.partition_state import PartitionState
from app.roles.fanout.reset_detection import Checkpoint, checkpoint_key
from app.roles.fanout.rules import FanoutRules
from app.roles.fanout.sequences import COMPLETE, LATE, coverage_key, read_count

#: key and headers of a record beside its event, in bytes, roughly
_OVERHEAD_BYTES = 512


class PlannedRecord(msgspec.Struct, frozen=True):
    """A record to append; `partition` None: Kafka's partitioner chooses it by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[RecordHeader]
    partition: int | None = None


class BatchPlan(msgspec.Struct, kw_only=True):
    """Everything that one slice of a batch causes."""

    #: every record before this offset is planned to its end, in this slice or an earlier one
    upto: int = 0
    appends: list[PlannedRecord] = msgspec.field(default_factory=list)
    #: table → entries to write along with `appends`; None removes the key
    tables: dict[str, dict[bytes, bytes | None]] = msgspec.field(default_factory=dict)
    #: the same, to write when this slice and all earlier ones are acknowledged
    final_tables: dict[str, dict[bytes, bytes | None]] = msgspec.field(default_factory=dict)

    #: events accepted, without duplicates
    accepted: int = 0
    #: events that no endpoint subscribes to
    unmatched: int = 0
    #: deliveries that were not made because the endpoint's filter refuses the event
    filtered: int = 0
    duplicates: int = 0
    #: the reason of each rejected record
    rejections: list[str] = msgspec.field(default_factory=list)
    #: (event type, violation) of events that were delivered although they violate their schema
    warnings: list[tuple[str, Violation]] = msgspec.field(default_factory=list)
    #: events whose last delivery is in this slice, and the deliveries of these events in all slices
    ended: int = 0
    fanned_out: int = 0


class OpenEvent(msgspec.Struct):
    """An accepted event, and how far it is planned."""

    event: Event
    record: ConsumedRecord
    sequence: int | None
    replay_id: str
    #: the id of the last endpoint that was planned
    after: str = ""
    outputs: int = 0
    #: whether the table may hold a checkpoint of it
    cut: bool = False
    #: what filters decide about it; None: no endpoint so far has one
    verdicts: EventVerdicts | None = None


class BatchPlanner:
    """Plans one batch of a partition."""

    def __init__(
        self,
        rules: FanoutRules,
        state: PartitionState,
        directory: Directory,
        registry_position: Callable[[], int],
        violation: Callable[[EventType, bytes], Violation | None] = lambda event_type, data: None,
        spent: Callable[[], int] = lambda: 0,
        outputs: Callable[[], int] | None = None,
        filters: CompiledFilters | None = None,
        subjects: SubjectVault | None = None,
    ) -> None:
        """`violation` checks data against its type's schema, and `spent` returns the units of work of that so far.

        `outputs` returns the outputs that the next slice may have; by default those of the rules.
        """
        self._rules = rules
        self._state = state
        self._partition = state.number
        self._directory = directory
        self._registry_position = registry_position
        self._violation = violation
        self._max_outputs = outputs or (lambda: rules.slice_outputs)
        self._spent = spent
        self._filters = filters or CompiledFilters()
        self._subjects = subjects
        self._begin_slice()
        coverage = state.sequence(coverage_key(self._partition))
        self._late = coverage == LATE or (coverage is None and state.start > 0)
        if coverage is None:
            self._sequences[coverage_key(self._partition)] = LATE if self._late else COMPLETE

    def _begin_slice(self) -> None:
        self._slice = BatchPlan()
        #: entries of the tables `idempotency`, `ordering` and, of checkpoints, `positions`
        self._accepted: dict[bytes, bytes] = {}
        self._sequences: dict[bytes, bytes] = {}
        self._checkpoints: dict[bytes, bytes | None] = {}
        self._left, self._bytes = self._max_outputs(), 0
        self._filter_steps = 0
        self._spent_before = self._spent()

    def plan(self, records: Sequence[ConsumedRecord]) -> Iterator[BatchPlan]:
        """Plan all records of a batch, in order, slice by slice.

        The caller writes the `tables` of a slice before it asks for the next one.
        """
        position, checkpoint = self._state.position, self._state.checkpoint
        upto = records[0].offset if records else 0
        for record in records:
            opened = self._begin(record, reset_detection.replay_of(position, record.offset), checkpoint)
            while opened is not None and not self._deliver(opened):
                yield self._end_slice(upto, opened)
            upto = record.offset + 1
            if self._is_full() and record is not records[-1]:
                yield self._end_slice(upto)
        yield self._end_slice(upto)

    def _end_slice(self, upto: int, opened: OpenEvent | None = None) -> BatchPlan:
        planned, begun = self._slice, upto
        if opened is not None:
            begun = opened.record.offset + 1
            opened.cut = True
            checkpoint = reset_detection.checkpoint(opened.record, opened.replay_id, opened.after)
            self._checkpoints[checkpoint_key(self._partition)] = reset_detection.write_checkpoint(checkpoint)
        planned.upto = upto
        planned.tables = {
            "idempotency": dict(self._accepted),
            "positions": self._state.advance(begun, self._sequences),
        }
        if self._sequences:
            planned.final_tables["ordering"] = dict(self._sequences)
        if self._checkpoints:
            planned.final_tables["positions"] = self._checkpoints
        self._begin_slice()
        return planned

    def _is_full(self) -> bool:
        spent = self._spent() - self._spent_before
        if self._left <= 0 or self._bytes >= self._rules.slice_bytes or spent >= self._rules.slice_units:
            return True
        return self._filter_steps >= self._rules.slice_filter_steps

    def _begin(self, record: ConsumedRecord, replay_id: str, checkpoint: Checkpoint | None) -> OpenEvent | None:
        """Decode and judge a record; None when it causes no deliveries."""
        at = Coordinates(self._rules.topic, self._partition, record.offset, record.timestamp)
        self._left -= 1
        self._bytes += len(record.value or b"")
        event: Event | None = None
        try:
            event = decode_event(record.value, record.headers, at, max_bytes=self._rules.max_event_bytes)
            if checkpoint is not None and not reset_detection.is_of(checkpoint, record, replay_id):
                checkpoint = None
            return self._accept(event, record, replay_id, checkpoint)
        except MalformedEvent as error:
            withheld = event if event is not None and event.subject is not None else None
            key, value, headers = rejected_record(record, error, self._rules, self._partition, withheld=withheld)
            self._slice.appends.append(PlannedRecord(self._rules.outputs.rejected, key, value, headers))
            self._slice.rejections.append(error.reason)
            return None

    def _check_schema(self, event: Event) -> None:
        """Check the event against its type's schema; raises `MalformedEvent` where the tenant enforces it."""
        event_type = self._directory.event_type(event.tenant, event.mode, event.type)
        if event_type is None or event_type.enforce == "off":
            return
        violation = self._violation(event_type, data_of(event.body, event.format))
        if violation is None:
            return
        if event.subject is not None:
            violation = Violation(violation.reason, LEFT_OUT)
        if event_type.enforce == "reject":
            raise MalformedEvent(violation.reason, violation.detail)
        self._slice.warnings.append((event.type, violation))

    def _accept(
        self, event: Event, record: ConsumedRecord, replay_id: str, checkpoint: Checkpoint | None
    ) -> OpenEvent | None:
        sequence: int | None = None
        if event.idempotency_key is None and event.ordering_key is None:
            if checkpoint is None:  # otherwise it was accepted before
                self._check_schema(event)
        else:
            is_new, sequence = self._identify(event, record)
            if not is_new:
                return None
        self._slice.accepted += 1
        opened = OpenEvent(event, record, sequence, replay_id)
        if checkpoint is not None:
            opened.after, opened.cut = checkpoint.after, True
        return opened

    def _identify(self, event: Event, record: ConsumedRecord) -> tuple[bool, int | None]:
        """Whether to process the event, and its sequence."""
        name = event.idempotency_key or event.id
        key = table_key(event.tenant, event.mode, name)
        stored = self._accepted.get(key) or self._state.accepted(key)
        decision = idempotency.decide(stored, self._partition, record.offset, record.timestamp, self._rules.ttl_ms)
        match decision:
            case idempotency.DuplicateKey(first=first):
                record_key, headers = duplicate_record(record, name, event, first, self._rules, self._partition)
                self._slice.appends.append(
                    PlannedRecord(self._rules.outputs.duplicates, record_key, b"", headers, self._partition)
                )
                self._slice.duplicates += 1
                return False, None
            case idempotency.Redelivery(accepted=accepted):
                self._accepted[key] = stored or b""
                self._number(event, record.offset, at_least=accepted.sequence)
                return True, accepted.sequence or None
            case idempotency.NewKey():
                self._check_schema(event)
                number = self._number(event, record.offset)
                accepted = AcceptedRecord(self._partition, record.offset, max(record.timestamp, 0), number)
                self._accepted[key] = decision.with_record(accepted)
                return True, number or None
            case _:
                assert_never(decision)

    def _number(self, event: Event, offset: int, at_least: int | None = None) -> int:
        """Count the event within its ordering key. Returns 0 for an event without one.

        `at_least`: the event has this number already; the count only catches up with it.
        """
        if event.ordering_key is None:
            return 0
        key = table_key(event.tenant, event.mode, event.ordering_key)
        count = read_count(self._sequences.get(key) or self._state.sequence(key) or b"")
        if count is None:
            count = offset if self._late else 0
        number = count + 1 if at_least is None else max(count, at_least)
        self._sequences[key] = number.to_bytes(8, "big")
        return number

    def _deliver(self, opened: OpenEvent) -> bool:
        """Plan deliveries of an event, as many as fit into the slice. Returns False when there are more."""
        event, planned = opened.event, self._slice
        if event.subject is not None and self._is_erased(opened):
            planned.ended += 1
            planned.unmatched += 1
            return True
        size = len(event.body) + _OVERHEAD_BYTES
        endpoints, after = self._directory.page(event.tenant, event.mode, event.type, opened.after, self._fits(size))
        outputs = opened.outputs
        examined = self._deliver_to(endpoints, opened)
        number = opened.outputs - outputs
        if examined < len(endpoints):
            endpoints, after = endpoints[:examined], endpoints[examined - 1].id
        self._left -= len(endpoints)
        self._bytes += number * size
        if after is not None:
            opened.after = after
            return False
        if opened.outputs == 0 and not opened.cut:
            planned.unmatched += 1
        planned.ended += 1
        planned.fanned_out += opened.outputs
        if opened.cut:
            self._checkpoints[checkpoint_key(self._partition)] = None
        return True

    def _is_erased(self, opened: OpenEvent) -> bool:
        """Whether the event's subject was erased since. Such an event keeps its sequence, and makes no deliveries."""
        if self._subjects is None or not self._subjects.is_erased(opened.event, opened.record.timestamp):
            return False
        if opened.cut:
            self._checkpoints[checkpoint_key(self._partition)] = None
        return True

    def _fits(self, size: int) -> int:
        """To how many endpoints the slice may still deliver records of `size` bytes."""
        rules = self._rules
        left = self._left
        if left * size > rules.slice_bytes - self._bytes:
            left = (rules.slice_bytes - self._bytes) // size
        if left >= rules.whole_outputs:
            return left
        return max(left, min(rules.whole_outputs, rules.whole_bytes // size), 1)

    def _accepts(self, filter_: JsonFilter, opened: OpenEvent) -> bool:
        """Whether an endpoint with this filter gets the event."""
        if opened.verdicts is None:
            opened.verdicts = EventVerdicts(self._filters, partial(fields_of, opened.event))
        before = opened.verdicts.steps
        accepted = opened.verdicts.accepts(filter_)
        self._filter_steps += opened.verdicts.steps - before
        self._slice.filtered += not accepted
        return accepted

    def _deliver_to(self, endpoints: Sequence[Endpoint], opened: OpenEvent) -> int:
        """Plan deliveries of an event to endpoints. Returns how many were examined until filters had cost enough."""
        topics, event, record = self._rules.outputs, opened.event, opened.record
        append = self._slice.appends.append
        name = ids.delivery_ids(event.tenant, event.id, opened.replay_id)
        shared: list[RecordHeader] | None = None
        body, sealed = event.body, None
        for examined, endpoint in enumerate(endpoints):
            if endpoint.status == "disabled":
                continue
            if endpoint.channels is not None and not carries(event.channels, endpoint.channels):
                continue
            if endpoint.filter is not None:
                if examined and self._filter_steps >= self._rules.slice_filter_steps:
                    return examined
                if not self._accepts(endpoint.filter, opened):
                    continue
            if shared is None:
                if event.subject is not None and self._subjects is not None:
                    body, sealed = self._subjects.seal(event, record.timestamp)
                shared = event_headers(
                    event,
                    record.timestamp,
                    opened.sequence,
                    opened.replay_id,
                    self._registry_position(),
                    source=(self._partition, record.offset),
                    sealed=sealed,
                )
            opened.outputs += 1
            key, headers = endpoint.id.encode(), with_delivery(shared, name(endpoint.id))
            if endpoint.ordering == "fifo" and event.ordering_key is not None:
                append(PlannedRecord(topics.ordered, key, body, headers))
            elif endpoint.status == "active":
                append(PlannedRecord(topics.deliveries, key, body, headers))
            else:
                append(PlannedRecord(topics.dead_letters, key, body, headers + PARKED))
        return len(endpoints)


def table_key(tenant: str, mode: str, key: str) -> bytes:
    """The key of the tables `idempotency` and `ordering`, of 16 bytes however long the producer's key is.

    BLAKE2b: with 10 million keys the probability that any two of them collide is below 10⁻²⁴.
    """
    return blake2b(f"{tenant}\0{mode}\0{key}".encode(), digest_size=16).digest()
