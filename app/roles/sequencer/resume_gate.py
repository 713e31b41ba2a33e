"""The resume gate of an endpoint: what happens to ordered deliveries that arrive while it is paused or resumes.

Rules of this file (DESIGN guarantee 5)
- For each ordering key, deliveries that wait in the key queue are older than parked ones, and those are older than held
  ones. A pause parks arrivals; a resume appends them again behind the queued ones; then the gate opens.
- A gate is moved by records of the endpoint's own partition of deliveries.ordered, between the arrivals. The offset of
  an arrival therefore decides on which side of a move it is, regardless of the pace of writers and readers.
- The steps of a resume name their *resume run*: steps of a worker that has been replaced do not move the gate.
- An arrival is parked only if a resume is still to come that appends it again. Otherwise it is held, and the sequencer
  itself soon opens the gate. Nothing stays behind when a resume is cancelled, or its endpoint disabled or removed.

              the endpoint is paused                  holding                    open
    [open] ───────────────────────────▶ [parking] ──────────────▶ [holding] ──────────────▶ [open]
       │          parking (a resume begins)  ▲                        │
       └─────────────────────────────────────┴────────────────────────┘ parking; or paused again: held ones are parked
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.directory import Directory
from app.core.records.ordered import GateState, GateStep

#: what happens to an arrival: it enters its key queue, is held at its tail, or is parked
Admission = Literal["enqueue", "hold", "park"]
#: what happens to all key queues of the endpoint: their heads are released, held arrivals are parked or released
GateMove = Literal["none", "park held", "park held, release next", "release all"]


class ResumeGate(msgspec.Struct, frozen=True, array_like=True):
    """The value of a gate in the table `queues`. An endpoint without one has an open gate."""

    #: the offset of the last record that moved the gate; -1: none
    applied: int = -1
    state: GateState = "open"
    #: the resume run that moves the gate; empty: no resume has begun
    resume_run: str = ""


def prefix(partition: int) -> bytes:
    """The beginning of the table keys of a partition's gates; a store in memory has all partitions in one."""
    return b"\0gate/%d/" % partition


def arrive(
    gate: ResumeGate, offset: int, endpoint_id: str, directory: Directory, *, resumed: bool
) -> tuple[ResumeGate, Admission, GateMove]:
    """Admit the delivery that arrived at `offset`; `resumed`: a resume has appended it.

    The directory must be as recent as the arrival. Where it shows the endpoint as paused, it must be as recent as the
    reading of the record; otherwise the resume that would append the delivery again may be over.
    """
    if resumed:
        return gate, "enqueue", "none"
    endpoint = directory.endpoint(endpoint_id)
    paused = endpoint is not None and endpoint.status == "paused"
    returns = _will_resume(endpoint_id, directory)
    if gate.state == "open":
        if not (paused and returns):
            return gate, "enqueue", "none"
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), "park", "none"
    if not returns:
        return ResumeGate(offset, "holding"), "hold", "none"
    if gate.state == "holding" and paused:  # a pause may last longer than queues have room
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), "park", "park held"
    return gate, "park" if gate.state == "parking" else "hold", "none"


def comes_back(gate: ResumeGate, offset: int, endpoint_id: str, directory: Directory) -> tuple[ResumeGate, bool]:
    """Apply a delivery's return to its queue because of a pause; the second value is whether the queue stops.

    The directory must be as recent as the reading of the record at `offset`.
    """
    endpoint = directory.endpoint(endpoint_id)
    stops = endpoint is not None and endpoint.status == "paused"
    if stops and gate.state == "open":
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), True
    return gate, stops


def apply(
    gate: ResumeGate, offset: int, step: GateStep, endpoint_id: str, directory: Directory
) -> tuple[ResumeGate, GateMove]:
    """Apply the step at `offset`. A step of another resume run, or one that is read again, does nothing."""
    if offset <= gate.applied:
        return gate, "none"
    if step.to == "parking":
        if not _will_resume(endpoint_id, directory):  # the resume is over; nothing would append parked deliveries
            return gate, "none"
        return ResumeGate(offset, "parking", step.resume_run), "park held, release next"
    if step.resume_run != gate.resume_run and step.resume_run:
        return gate, "none"
    if step.to == "holding":
        return ResumeGate(offset, "holding", step.resume_run), "none"
    finished = step.resume_run and gate.state == "holding"
    if not finished and directory.has_open_resume(endpoint_id):  # this run was given up; another one will come
        return gate, "none"
    if gate.state == "open" and directory.endpoint(endpoint_id) is not None:
        return gate, "none"
    return ResumeGate(offset), "release all"


def _will_resume(endpoint_id: str, directory: Directory) -> bool:
    """Whether deliveries that are parked now will be appended again, in order."""
    endpoint = directory.endpoint(endpoint_id)
    return endpoint is not None and endpoint.ordering == "fifo" and directory.has_open_resume(endpoint_id)
