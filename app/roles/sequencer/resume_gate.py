"""The gate of an endpoint that was paused: what becomes of an ordered delivery that arrives before its resume is over.

Rules of this file (DESIGN guarantee 5)
- For each ordering key what waits in its line is older than what was put aside, and that is older than what is held.
  A pause puts aside what arrives; a resume brings it back behind what the line has; then the gate is opened.
- A gate is moved by records of the endpoint's own partition of deliveries.ordered, between the arrivals. So it is
  certain on which side of it an arrival is, whoever writes and reads at which pace.
- The steps of a resume carry its *stint*: the steps of a worker that was replaced meanwhile move nothing.
- Nothing is put aside unless a resume is still to come that brings it; else it is held, and the gate soon opened by
  the sequencer itself. So nothing stays behind when a resume is cancelled, or its endpoint disabled or removed.

              the endpoint is paused                 hold                    open
    [open] ───────────────────────────▶ [aside] ──────────────▶ [held] ──────────────▶ [open]
       │              aside (a resume begins)  ▲                   │
       └───────────────────────────────────────┴───────────────────┘ aside; paused again: those held are put aside, too
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.directory import Directory
from app.core.records.ordered import GateState, GateStep

#: what an arrival does: it enters its line, waits at its tail, or is put aside
Admission = Literal["enqueue", "hold", "park"]
#: what is done with all lines of the endpoint: the stopped ones go on; the held ones are put aside, or are let go
GateMove = Literal["none", "release next", "park held", "park held, release next", "release all"]


class ResumeGate(msgspec.Struct, frozen=True, array_like=True):
    """The value of a gate in the table `line`. An endpoint without one is open."""

    #: the last record that has moved it
    applied: int = -1
    state: GateState = "open"
    #: the stint of a resume that moves it; empty: none has begun
    resume_run: str = ""


def prefix(partition: int) -> bytes:
    """What the keys of a partition's gates begin with (a store in memory holds all partitions in one)."""
    return b"\0gate/%d/" % partition


def arrive(
    gate: ResumeGate, offset: int, endpoint_id: str, directory: Directory, *, resumed: bool
) -> tuple[ResumeGate, Admission, GateMove]:
    """A delivery has arrived at `offset`; `resumed`: a resume brings it.

    The directory must be as recent as the arrival, and where it says that the endpoint is paused as recent as the
    reading of the record: else the resume that brings the delivery back may be over.
    """
    if resumed:
        return gate, "enqueue", "none"
    endpoint = directory.endpoint(endpoint_id)
    paused = endpoint is not None and endpoint.status == "paused"
    wanted = _is_wanted(endpoint_id, directory)
    if gate.state == "open":
        if not (paused and wanted):
            return gate, "enqueue", "none"
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), "park", "none"
    if not wanted:
        return ResumeGate(offset, "holding"), "hold", "none"
    if gate.state == "holding" and paused:  # a pause may last longer than lines have room
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), "park", "park held"
    return gate, "park" if gate.state == "parking" else "hold", "none"


def comes_back(gate: ResumeGate, offset: int, endpoint_id: str, directory: Directory) -> tuple[ResumeGate, bool]:
    """A delivery has come back, since its endpoint was paused; whether its line stops.

    The directory must be as recent as the reading of the record at `offset`.
    """
    endpoint = directory.endpoint(endpoint_id)
    stops = endpoint is not None and endpoint.status == "paused"
    if stops and gate.state == "open":
        return msgspec.structs.replace(gate, applied=offset, state="parking", resume_run=""), True
    return gate, stops


def obey(
    gate: ResumeGate, offset: int, step: GateStep, endpoint_id: str, directory: Directory
) -> tuple[ResumeGate, GateMove]:
    """The step at `offset`; one that is not the present stint's, or is read again, moves nothing."""
    if offset <= gate.applied:
        return gate, "none"
    if step.to == "parking":
        if not _is_wanted(endpoint_id, directory):  # it has ended meanwhile, and nobody would bring what is held
            return gate, "none"
        return ResumeGate(offset, "parking", step.resume_run), "park held, release next"
    if step.resume_run != gate.resume_run and step.resume_run:
        return gate, "none"
    if step.to == "holding":
        return ResumeGate(offset, "holding", step.resume_run), "none"
    finished = step.resume_run and gate.state == "holding"
    if not finished and directory.brings(endpoint_id):  # the work was given up; another resume is to come
        return gate, "none"
    if gate.state == "open" and directory.endpoint(endpoint_id) is not None:
        return gate, "none"
    return ResumeGate(offset), "release all"


def _is_wanted(endpoint_id: str, directory: Directory) -> bool:
    """Whether what is put aside now is brought back, in order."""
    endpoint = directory.endpoint(endpoint_id)
    return endpoint is not None and endpoint.ordering == "fifo" and directory.brings(endpoint_id)
