"""The sequencer's tables: the changes of one batch, and what a worker keeps in memory about a partition."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import msgspec
import structlog

from app.core.records.ordered import of_delivery
from app.ports.consumer import Record
from app.ports.stream import StreamPartition
from app.roles.sequencer.key_queue import KeyQueue
from app.roles.sequencer.resume_gate import ResumeGate, prefix

logger = structlog.get_logger(__name__)

#: milliseconds after which a queue or gate at rest is removed: by then its last record has been committed
_REST_MS = 60_000
T = TypeVar("T")
#: key, value and headers of a delivery's record, as the table `waiting` has it
StoredRecord = tuple[bytes, bytes, list[tuple[str, bytes]]]
_encoder = msgspec.msgpack.Encoder()
_queue_decoder = msgspec.msgpack.Decoder(KeyQueue)
_gate_decoder = msgspec.msgpack.Decoder(ResumeGate)
_record_decoder = msgspec.msgpack.Decoder(StoredRecord)


class PartitionMemory:
    """What a worker keeps in memory about one partition during one assignment."""

    def __init__(self, partition: StreamPartition) -> None:
        self.partition = partition
        #: name of a queue → the arrival that was released last
        self.released: dict[bytes, int] = {}
        #: endpoint → its gate
        self.gates: dict[str, ResumeGate] = {}
        #: (record time in ms, table key of a queue or gate, its `applied`) of those at rest, oldest first
        self.resting: deque[tuple[int, bytes, int]] = deque()
        self._prefix = prefix(partition.number)
        for name, stored in partition.scan("queues", self._prefix):
            gate = _decoded(_gate_decoder, stored)
            if gate is not None:
                self.gates[self._endpoint(name)] = gate
                if gate.state == "open":
                    self.resting.append((0, name, gate.applied))

    def gate_name(self, endpoint: str) -> bytes:
        """The key of an endpoint's gate in the table `queues`."""
        return self._prefix + endpoint.encode()

    def endpoint_of(self, name: bytes) -> str | None:
        """The endpoint, if `name` is the key of a gate; None if it is that of a queue."""
        return self._endpoint(name) if name.startswith(self._prefix) else None

    def _endpoint(self, name: bytes) -> str:
        return name.removeprefix(self._prefix).decode(errors="replace")  # a poisoned changelog is no reason to stop

    def add_resting(self, at_ms: int, name: bytes, applied: int) -> None:
        """Note that a queue became idle, or a gate open, by a record of that time."""
        self.released.pop(name, None)
        self.resting.append((at_ms, name, applied))


class TableChanges:
    """The changes of one batch to its partition's tables, and the records that it releases or gives up."""

    def __init__(self, partition: StreamPartition, memory: PartitionMemory) -> None:
        self.partition = partition
        self.memory = memory
        #: records for `deliveries`
        self.released: list[StoredRecord] = []
        self._dead: list[tuple[StoredRecord | bytes, str]] = []
        #: bytes of the records in `waiting`
        self.size = 0
        #: changes of the table `queues`; None: remove
        self.queues: dict[bytes, KeyQueue | None] = {}
        self.gates: dict[bytes, ResumeGate | None] = {}
        #: changes of the table `waiting`; None: remove
        self.waiting: dict[bytes, bytes | None] = {}

    def queue(self, name: bytes) -> KeyQueue:
        """The current value, with this batch's changes."""
        if name in self.queues:
            return self.queues[name] or KeyQueue()
        return _decoded(_queue_decoder, self.partition.read("queues", name)) or KeyQueue()

    def queues_of(self, endpoint: str) -> Iterator[bytes]:
        """The names of all queues of an endpoint."""
        prefix = f"{endpoint}\n".encode()
        stored = [name for name, _ in self.partition.scan("queues", prefix)]
        yield from dict.fromkeys([*stored, *(name for name in self.queues if name.startswith(prefix))])

    def gate(self, endpoint: str) -> ResumeGate:
        """The current gate of an endpoint, with this batch's changes."""
        return self.memory.gates.get(endpoint) or ResumeGate()

    def move_gate(self, endpoint: str, moved: ResumeGate, at_ms: int) -> None:
        """Replace an endpoint's gate; `at_ms` is the time of the record that moves it."""
        if moved == self.memory.gates.get(endpoint, ResumeGate()):
            return
        name = self.memory.gate_name(endpoint)
        self.gates[name] = self.memory.gates[endpoint] = moved
        logger.info("sequencer.gate", endpoint=endpoint, state=moved.state, run=moved.resume_run, at=moved.applied)
        if moved.state == "open":
            self.memory.add_resting(at_ms, name, moved.applied)

    def encoded(self) -> dict[bytes, bytes | None]:
        """The changes of the table `queues`, as it stores them."""
        changed: dict[bytes, KeyQueue | ResumeGate | None] = {**self.queues, **self.gates}
        return {name: _encoder.encode(value) if value is not None else None for name, value in changed.items()}

    def store(self, name: bytes, offset: int, record: Record) -> None:
        """Write an arrival's record to the table `waiting`."""
        stored = self.waiting[_key(name, offset)] = _encoder.encode(stored_record(record))
        self.size += len(stored)

    def drop(self, name: bytes, offset: int) -> None:
        """Remove an arrival's record from the table `waiting`."""
        self.waiting[_key(name, offset)] = None

    def release(self, name: bytes, offset: int, cause: int) -> None:
        """Append an arrival to `deliveries`.

        `cause` is the record that releases it. It becomes the header `released`, by which dispatch recognises the
        later of two copies.
        """
        stored = self._stored(name, offset)
        if stored is None:
            return  # the arrival's own record will be read again, and releases it then
        key, value, headers = stored
        added = [("arrival", b"%d" % offset)]
        if cause >= 0:
            added.append(("released", b"%d" % cause))
        self.released.append((key, value, [*headers, *added]))
        self.memory.released[name] = offset

    def give_up(self, name: bytes, offset: int, reason: str) -> None:
        """Append a stored arrival to deliveries.dead."""
        key = _key(name, offset)
        # A record that is only in the table is read when it is written: a queue may have thousands.
        entry = _decoded(_record_decoder, self.waiting[key]) if key in self.waiting else key
        if entry is not None:
            self._dead.append((entry, reason))
        self.drop(name, offset)

    def refuse(self, record: Record, reason: str) -> None:
        """Append an arrival that was not stored to deliveries.dead."""
        self._dead.append((stored_record(record), reason))

    def dead(self) -> Iterator[StoredRecord]:
        """The records for deliveries.dead, one at a time. Write them before the changes of the tables."""
        for entry, reason in self._dead:
            stored = self._read(entry) if isinstance(entry, bytes) else entry
            if stored is not None:
                key, value, headers = stored
                yield key, value, [*headers, ("reason", reason.encode()), ("last-result", reason.encode())]

    def outputs(self) -> int:
        """The approximate number of records that the batch writes so far."""
        return len(self.released) + len(self._dead) + len(self.waiting) + len(self.queues)

    def remove_resting(self, now_ms: int) -> None:
        """Remove queues and gates that have been at rest for long enough: no record that they know is read again."""
        resting = self.memory.resting
        while resting and resting[0][0] < now_ms - _REST_MS:
            _, name, applied = resting.popleft()
            endpoint = self.memory.endpoint_of(name)
            if endpoint is None:
                if self.queue(name).applied == applied:
                    self.queues[name] = None
            elif self.gate(endpoint) == ResumeGate(applied):
                self.gates[name] = None
                del self.memory.gates[endpoint]

    def _stored(self, name: bytes, offset: int) -> StoredRecord | None:
        key = _key(name, offset)
        return _decoded(_record_decoder, self.waiting[key]) if key in self.waiting else self._read(key)

    def _read(self, key: bytes) -> StoredRecord | None:
        return _decoded(_record_decoder, self.partition.read("waiting", key))


def stored_record(record: Record) -> StoredRecord:
    """The delivery of an arrival's record, as the table `waiting` has it."""
    return record.key or b"", record.value or b"", of_delivery(record.headers)


def _decoded(decoder: msgspec.msgpack.Decoder[T], stored: bytes | None) -> T | None:
    """A table's value; None also if this program cannot have written it."""
    try:
        return decoder.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        logger.exception("sequencer.table_unreadable")
        return None


def _key(name: bytes, offset: int) -> bytes:
    return name + b"\n" + offset.to_bytes(8, "big")
