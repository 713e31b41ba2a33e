"""What the records of events.raw cause, in slices: deliveries, rejections, and what the tables have to remember.

Rules of this file
- Pure: the same records over the same tables and directory cause the same outputs with the same ids.
- Nothing is decided twice: an event's sequence is fixed at its first sight and read from the table ever after, and a
  schema is asked before it, not again.
- A record that is read again is remembered again. After a crash a worker's store may know more than the changelogs, and
  one of the two changelogs more than the other: what is read again makes them whole, before anything new is numbered.
  That works because sequences are made safe after the sights that they were given to (roles/fanout/role.py).
- Where the table of sequences was lost (disk and changelog), a key that is new to it begins behind its record's
  offset. No key has had more records than that, so receivers see a gap, and never a number again.
- What a paused endpoint is not given is put aside in deliveries.dead, as decided: with its sequence, and without the
  producer's duplicates, which nobody could tell later. A disabled endpoint gets nothing.
- What has to be in order goes to the sequencer all the same: it alone knows what is ahead, and puts it aside.
- A batch is planned in slices of bounded records and bytes; where it is cut changes no id and no sequence. An event
  with many endpoints is cut between two of them, in the order of their ids. Its *checkpoint* says up to which of them
  everything is acknowledged; it is written then, and whoever reads the event again goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from app.core.directory import Directory
from app.core.errors import MalformedEvent
from app.core.model import ids
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import EventType
from app.core.records import idempotency_entry
from app.core.records.dead_letter import PARKED
from app.core.records.delivery import event_headers, with_delivery
from app.core.records.headers import RecordHeader
from app.core.records.raw_event import Coordinates, data_of, decode_event
from app.core.records.record import ConsumedRecord
from app.core.schemas.rules import Violation
from app.core.topics.declarations import GROWTH, max_message_bytes
from app.roles.fanout import idempotency, reset_detection
from app.roles.fanout.reset_detection import Checkpoint, ReadPosition
from app.roles.fanout.sequences import BEGUN, BEGUN_LATE, begun_key

#: bytes of a producer's key that a record about it repeats: compressed, a key may be larger than our topics take
MAX_KEY_BYTES = 1024


def position_key(partition: int) -> bytes:
    """The key of a partition in the table `positions` (a store in memory holds all partitions in one)."""
    return b"position/%d" % partition


def checkpoint_key(partition: int) -> bytes:
    """The key of a partition's checkpoint in the table `positions`."""
    return b"checkpoint/%d" % partition


#: of a record, beside its event: key and headers
_OVERHEAD_BYTES = 512


class FanoutRules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a plan depends on."""

    topic: str
    ttl_ms: int
    max_event_bytes: int

    #: outputs (deliveries, rejections, duplicates, table entries) of one slice
    slice_outputs: int = 2000
    #: bytes that one slice reads and writes
    slice_bytes: int = 4 * 1024 * 1024
    #: units of work of schemas (core/schemas/cost.py) after which a slice ends: 50 ms
    slice_units: int = 2_000_000
    #: an event with no more outputs or bytes than that is not cut
    whole_outputs: int = 200
    whole_bytes: int = 1024 * 1024

    @property
    def max_rejected_bytes(self) -> int:
        """How much of a rejected record is kept: what surely fits into `events.rejected`."""
        return max_message_bytes(self.max_event_bytes) - GROWTH


class RejectedRecord(msgspec.Struct, frozen=True):
    """A record that is no event."""

    record: ConsumedRecord
    reason: str
    detail: str


class DuplicateRecord(msgspec.Struct, frozen=True):
    """A producer's duplicate."""

    record: ConsumedRecord
    #: its idempotency key; the event's id where it has none
    key: str
    event: Event
    first: idempotency_entry.AcceptedRecord


class BatchPlan(msgspec.Struct, kw_only=True):
    """Everything that one slice of a batch causes."""

    #: every record before this offset is planned to its end, in this slice or an earlier one
    upto: int = 0
    #: the offset after the last record that was begun
    begun: int = 0
    #: what the table `positions` has to remember, once all of the slice and of those before it is acknowledged
    checkpoints: dict[bytes, bytes | None] = msgspec.field(default_factory=dict)

    #: (endpoint id, headers, value)
    deliveries: list[tuple[bytes, list[RecordHeader], bytes]] = msgspec.field(default_factory=list)
    #: the same, for endpoints that want order: to be put into deliveries.ordered
    ordered: list[tuple[bytes, list[RecordHeader], bytes]] = msgspec.field(default_factory=list)
    #: the same, for paused endpoints: to be put into deliveries.dead
    aside: list[tuple[bytes, list[RecordHeader], bytes]] = msgspec.field(default_factory=list)
    rejections: list[RejectedRecord] = msgspec.field(default_factory=list)
    duplicates: list[DuplicateRecord] = msgspec.field(default_factory=list)
    #: what the tables have to remember
    sights: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    sequences: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    #: (type, how it breaks its schema) of events that were delivered all the same
    warnings: list[tuple[str, Violation]] = msgspec.field(default_factory=list)
    accepted: int = 0
    unmatched: int = 0
    #: events planned to their end that had deliveries to make, and how many these were, with earlier slices
    ended: int = 0
    fanned_out: int = 0


class _UnderWay(msgspec.Struct):
    """An accepted event, and how far it is planned."""

    event: Event
    record: ConsumedRecord
    sequence: int | None
    replay_id: str
    #: the last endpoint that was looked at
    after: str = ""
    outputs: int = 0
    #: whether the table may hold a checkpoint of it
    cut: bool = False


TableLookup = Callable[[bytes], bytes | None]


class BatchPlanner:
    """Plans batches of one partition. `sight` and `sequence` read the tables `idempotency` and `ordering`."""

    def __init__(
        self,
        rules: FanoutRules,
        partition: int,
        directory: Directory,
        registry_position: Callable[[], int],
        sight: TableLookup,
        sequence: TableLookup,
        violation: Callable[[EventType, bytes], Violation | None] = lambda event_type, data: None,
        spent: Callable[[], int] = lambda: 0,
        start: int = 0,
        outputs: Callable[[], int] | None = None,
    ) -> None:
        """`violation` says where data breaks its type's schema, `spent` how much work that was so far; `start`: where
        reading of the partition began; `outputs`: how many the next slice may have (default: as the rules allow).
        """
        self._rules = rules
        self._partition = partition
        self._directory = directory
        self._registry_position = registry_position
        self._sight = sight
        self._sequence = sequence
        self._violation = violation
        self._plan = BatchPlan()
        self._most = outputs or (lambda: rules.slice_outputs)
        self._left = self._most()
        self._bytes = 0
        self._spent = spent
        self._spent_before = spent()
        begun = sequence(begun_key(partition))
        self._late = begun == BEGUN_LATE or (begun is None and start > 0)
        if begun is None:
            self._plan.sequences[begun_key(partition)] = BEGUN_LATE if self._late else BEGUN

    def slices(
        self, records: Sequence[ConsumedRecord], position: ReadPosition, checkpoint: Checkpoint | None = None
    ) -> Iterator[BatchPlan]:
        """Plan all records of a batch, in order. What a slice says is to be in the tables before the next is asked for.

        `checkpoint`: how far the event at its offset was planned and acknowledged before.
        """
        upto = records[0].offset if records else 0
        for record in records:
            work = self._begin(record, reset_detection.replay_of(position, record.offset), checkpoint)
            while work is not None and not self._deliver(work):
                yield self._cut(upto, work)
            upto = record.offset + 1
            if self._is_full() and record is not records[-1]:
                yield self._cut(upto)
        yield self._cut(upto)

    def _cut(self, upto: int, work: _UnderWay | None = None) -> BatchPlan:
        plan, self._plan = self._plan, BatchPlan()
        self._left, self._bytes = self._most(), 0
        self._spent_before = self._spent()
        plan.upto = plan.begun = upto
        if work is not None:
            plan.begun = work.record.offset + 1
            work.cut = True
            checkpoint = reset_detection.checkpoint(work.record, work.replay_id, work.after)
            plan.checkpoints[checkpoint_key(self._partition)] = reset_detection.write_checkpoint(checkpoint)
        return plan

    def _is_full(self) -> bool:
        spent = self._spent() - self._spent_before
        return self._left <= 0 or self._bytes >= self._rules.slice_bytes or spent >= self._rules.slice_units

    def _begin(self, record: ConsumedRecord, replay_id: str, checkpoint: Checkpoint | None) -> _UnderWay | None:
        """Understand and judge a record; None: it needs no more than the plan has now."""
        at = Coordinates(self._rules.topic, self._partition, record.offset, record.timestamp)
        self._left -= 1
        self._bytes += len(record.value or b"")
        try:
            event = decode_event(record.value, record.headers, at, max_bytes=self._rules.max_event_bytes)
            if checkpoint is not None and not reset_detection.is_of(checkpoint, record, replay_id):
                checkpoint = None
            return self._event(event, record, replay_id, checkpoint)
        except MalformedEvent as error:
            self._plan.rejections.append(RejectedRecord(record, error.reason, error.detail))
            return None

    def _judge(self, event: Event) -> None:
        """Hold the event against the schema that its tenant has given its type; `MalformedEvent` where that matters."""
        known = self._directory.event_type(event.tenant, event.mode, event.type)
        if known is None or known.enforce == "off":
            return
        problem = self._violation(known, data_of(event.body, event.format))
        if problem is None:
            return
        if known.enforce == "reject":
            raise MalformedEvent(problem.reason, problem.detail)
        self._plan.warnings.append((event.type, problem))

    def _event(
        self, event: Event, record: ConsumedRecord, replay_id: str, checkpoint: Checkpoint | None
    ) -> _UnderWay | None:
        sequence: int | None = None
        if event.idempotency_key is None and event.ordering_key is None:
            if checkpoint is None:  # else it was accepted before
                self._judge(event)
        else:
            known, sequence = self._known(event, record)
            if not known:
                return None
        self._plan.accepted += 1
        work = _UnderWay(event, record, sequence, replay_id)
        if checkpoint is not None:
            work.after, work.cut = checkpoint.after, True
        return work

    def _known(self, event: Event, record: ConsumedRecord) -> tuple[bool, int | None]:
        """Whether to process the event, and its sequence."""
        name = event.idempotency_key or event.id
        key = table_key(event.tenant, event.mode, name)
        stored = self._plan.sights.get(key) or self._sight(key)
        match idempotency.decide(stored, self._partition, record.offset, record.timestamp, self._rules.ttl_ms):
            case idempotency.DuplicateKey(first=first):
                self._plan.duplicates.append(DuplicateRecord(record, name, event, first))
                return False, None
            case idempotency.Redelivery(sight=sight):
                self._plan.sights[key] = stored or b""
                self._number(event, record.offset, at_least=sight.sequence)
                return True, sight.sequence or None
            case idempotency.NewKey() as new:
                self._judge(event)
                number = self._number(event, record.offset)
                sight = idempotency_entry.AcceptedRecord(
                    self._partition, record.offset, max(record.timestamp, 0), number
                )
                self._plan.sights[key] = new.with_sight(sight)
                return True, number or None

    def _number(self, event: Event, offset: int, at_least: int | None = None) -> int:
        """Count the event within its ordering key; one that has its number already only keeps the count up with it."""
        if event.ordering_key is None:
            return 0
        key = table_key(event.tenant, event.mode, event.ordering_key)
        stored = self._plan.sequences.get(key) or self._sequence(key) or b""
        known = len(stored) == 8 and stored[0] < 0x80
        count = int.from_bytes(stored, "big") if known else offset if self._late else 0
        number = count + 1 if at_least is None else max(count, at_least)
        self._plan.sequences[key] = number.to_bytes(8, "big")
        return number

    def _deliver(self, work: _UnderWay) -> bool:
        """Plan deliveries of an event, as many as the slice may still have; False: there are more."""
        event = work.event
        size = len(event.body) + _OVERHEAD_BYTES
        found, after = self._directory.page(event.tenant, event.mode, event.type, work.after, self._fits(size))
        planned = self._deliver_to(found, work)
        work.outputs += planned
        self._left -= len(found)
        self._bytes += planned * size
        if after is not None:
            work.after = after
            return False
        if work.outputs == 0 and not work.cut:
            self._plan.unmatched += 1
        self._plan.ended += 1
        self._plan.fanned_out += work.outputs
        if work.cut:
            self._plan.checkpoints[checkpoint_key(self._partition)] = None
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

    def _deliver_to(self, endpoints: Sequence[Endpoint], work: _UnderWay) -> int:
        plan, event, record = self._plan, work.event, work.record
        name = ids.delivery_ids(event.tenant, event.id, work.replay_id)
        shared: list[RecordHeader] | None = None
        planned = 0
        for endpoint in endpoints:
            if endpoint.status == "disabled":
                continue
            if shared is None:
                shared = event_headers(
                    event,
                    record.timestamp,
                    work.sequence,
                    work.replay_id,
                    self._registry_position(),
                    source=(self._partition, record.offset),
                )
            planned += 1
            headers = with_delivery(shared, name(endpoint.id))
            if endpoint.ordering == "fifo" and event.ordering_key is not None:
                plan.ordered.append((endpoint.id.encode(), headers, event.body))
            elif endpoint.status == "active":
                plan.deliveries.append((endpoint.id.encode(), headers, event.body))
            else:
                plan.aside.append((endpoint.id.encode(), headers + PARKED, event.body))
        return planned


def table_key(tenant: str, mode: str, key: str) -> bytes:
    """The key of both tables: short, however long the producer's is.

    16 bytes of BLAKE2b: with 10 million keys the chance that any two of them meet is below 10⁻²⁴.
    """
    return blake2b(f"{tenant}\0{mode}\0{key}".encode(), digest_size=16).digest()
