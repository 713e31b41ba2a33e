"""What a batch does to the sequencer's tables, and what a worker knows of a partition beyond them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import msgspec
import structlog

from app.core.records.ordered import of_delivery
from app.ports.consumer import Record
from app.ports.stream import StreamPartition
from app.roles.sequencer import key_queue, resume_gate
from app.roles.sequencer.resume_gate import ResumeGate

log = structlog.get_logger(__name__)

#: a line at rest is forgotten that long after it came to rest: by then its last record is committed
_REST_MS = 60_000
T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
_line = msgspec.msgpack.Decoder(key_queue.KeyQueue)
_gate = msgspec.msgpack.Decoder(ResumeGate)
#: key, value and headers of a delivery's record
StoredRecord = tuple[bytes, bytes, list[tuple[str, bytes]]]
_held = msgspec.msgpack.Decoder(StoredRecord)


class PartitionMemory:
    """What a worker knows of one partition during one assignment, beyond its tables."""

    def __init__(self, partition: StreamPartition) -> None:
        self.partition = partition
        #: line → the arrival that was released last
        self.released: dict[bytes, int] = {}
        #: endpoint → its gate
        self.gates: dict[str, ResumeGate] = {}
        #: (record time, line or gate, applied) of those at rest, oldest first
        self.resting: deque[tuple[int, bytes, int]] = deque()
        self._gates = resume_gate.prefix(partition.number)
        for name, stored in partition.scan("queues", self._gates):
            known = _known(_gate, stored)
            if known is not None:
                self.gates[self._endpoint(name)] = known
                if known.state == "open":
                    self.resting.append((0, name, known.applied))

    def gate_name(self, endpoint: str) -> bytes:
        """The key of its gate in the table `queues`."""
        return self._gates + endpoint.encode()

    def endpoint_of(self, name: bytes) -> str | None:
        """The endpoint, where the name is that of a gate."""
        return self._endpoint(name) if name.startswith(self._gates) else None

    def _endpoint(self, name: bytes) -> str:
        return name.removeprefix(self._gates).decode(errors="replace")  # a poisoned changelog is no reason to stop

    def rests(self, at_ms: int, name: bytes, applied: int) -> None:
        """Nothing of the line is under way; or nobody is kept out by the gate."""
        self.released.pop(name, None)
        self.resting.append((at_ms, name, applied))


class TableChanges:
    """What one batch does to its partition's tables."""

    def __init__(self, partition: StreamPartition, memory: PartitionMemory) -> None:
        self.partition = partition
        self.memory = memory
        self.released: list[StoredRecord] = []
        self._given_up: list[tuple[StoredRecord | bytes, str]] = []
        #: bytes of records in it
        self.size = 0
        #: None: to be forgotten
        self.lines: dict[bytes, key_queue.KeyQueue | None] = {}
        self.gates: dict[bytes, ResumeGate | None] = {}
        self.held: dict[bytes, bytes | None] = {}

    def line(self, name: bytes) -> key_queue.KeyQueue:
        """As it is now."""
        if name in self.lines:
            return self.lines[name] or key_queue.KeyQueue()
        return _known(_line, self.partition.read("queues", name)) or key_queue.KeyQueue()

    def lines_of(self, endpoint: str) -> Iterator[bytes]:
        """The names of all lines of an endpoint."""
        prefix = f"{endpoint}\n".encode()
        stored = [name for name, _ in self.partition.scan("queues", prefix)]
        yield from dict.fromkeys([*stored, *(name for name in self.lines if name.startswith(prefix))])

    def gate(self, endpoint: str) -> ResumeGate:
        """As it is now."""
        return self.memory.gates.get(endpoint) or ResumeGate()

    def move_gate(self, endpoint: str, moved: ResumeGate, at_ms: int) -> None:
        """Remember how it is."""
        if moved == self.memory.gates.get(endpoint, ResumeGate()):
            return
        name = self.memory.gate_name(endpoint)
        self.gates[name] = self.memory.gates[endpoint] = moved
        log.info("sequencer.gate", endpoint=endpoint, state=moved.state, run=moved.resume_run, at=moved.applied)
        if moved.state == "open":
            self.memory.rests(at_ms, name, moved.applied)

    def encoded(self) -> dict[bytes, bytes | None]:
        """What has changed in the table `queues`."""
        changed: dict[bytes, key_queue.KeyQueue | ResumeGate | None] = {**self.lines, **self.gates}
        return {name: _encoder.encode(value) if value is not None else None for name, value in changed.items()}

    def keep(self, name: bytes, offset: int, record: Record) -> None:
        """Remember an arrival's record."""
        stored = self.held[_place(name, offset)] = _encoder.encode(_entry(record))
        self.size += len(stored)

    def forget(self, name: bytes, offset: int) -> None:
        """Remember it no longer."""
        self.held[_place(name, offset)] = None

    def release(self, name: bytes, offset: int, cause: int) -> None:
        """Append it to `deliveries`. `cause`: the record that lets it go, by which dispatch knows the later one."""
        found = self._kept(name, offset)
        if found is None:
            return  # its own record is still to be read again, and asks for the release itself
        key, value, headers = found
        place = [("arrival", b"%d" % offset)]
        if cause >= 0:
            place.append(("released", b"%d" % cause))
        self.released.append((key, value, [*headers, *place]))
        self.memory.released[name] = offset

    def give_up(self, name: bytes, offset: int, reason: str) -> None:
        """Put what was kept into deliveries.dead."""
        place = _place(name, offset)
        # What only the table has is read when its turn comes: a line may have thousands.
        entry = _known(_held, self.held[place]) if place in self.held else place
        if entry is not None:
            self._given_up.append((entry, reason))
        self.forget(name, offset)

    def refuse(self, record: Record, reason: str) -> None:
        """Put a record into deliveries.dead that was not kept."""
        self._given_up.append((_entry(record), reason))

    def given_up(self) -> Iterator[StoredRecord]:
        """The records for deliveries.dead, one at a time; to be written before the tables forget them."""
        for kept, reason in self._given_up:
            entry = _known(_held, self.partition.read("waiting", kept)) if isinstance(kept, bytes) else kept
            if entry is not None:
                key, value, headers = entry
                why = reason.encode()
                yield key, value, [*headers, ("reason", why), ("last-result", why)]

    def outputs(self) -> int:
        """How many records it has so far, about."""
        return len(self.released) + len(self._given_up) + len(self.held) + len(self.lines)

    def forget_resting(self, now_ms: int) -> None:
        """Lines at rest leave the table, once nothing can be read again that they would have to know."""
        resting = self.memory.resting
        while resting and resting[0][0] < now_ms - _REST_MS:
            _, name, applied = resting.popleft()
            endpoint = self.memory.endpoint_of(name)
            if endpoint is None:
                if self.line(name).applied == applied:
                    self.lines[name] = None
            elif self.gate(endpoint) == ResumeGate(applied):
                self.gates[name] = None
                del self.memory.gates[endpoint]

    def _kept(self, name: bytes, offset: int) -> StoredRecord | None:
        place = _place(name, offset)
        stored = self.held[place] if place in self.held else self.partition.read("waiting", place)
        return _known(_held, stored)


def _entry(record: Record) -> StoredRecord:
    return record.key or b"", record.value or b"", of_delivery(record.headers)


def _known(decoder: msgspec.msgpack.Decoder[T], stored: bytes | None) -> T | None:
    """A table's value; what we cannot have written counts as nothing."""
    try:
        return decoder.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        log.exception("sequencer.table_unreadable")
        return None


def _place(name: bytes, offset: int) -> bytes:
    return name + b"\n" + offset.to_bytes(8, "big")
