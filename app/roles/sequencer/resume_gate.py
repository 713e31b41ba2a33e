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
Admission = Literal["enter", "hold", "aside"]
#: what is done with all lines of the endpoint: the stopped ones go on; the held ones are put aside, or are let go
GateMove = Literal["none", "go on", "retreat", "retreat, go on", "let go"]


class ResumeGate(msgspec.Struct, frozen=True, array_like=True):
    """The value of a gate in the table `line`. An endpoint without one is open."""

    #: the last record that has moved it
    applied: int = -1
    state: GateState = "open"
    #: the stint of a resume that moves it; empty: none has begun
    stint: str = ""


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
        return gate, "enter", "none"
    endpoint = directory.endpoint(endpoint_id)
    paused = endpoint is not None and endpoint.status == "paused"
    wanted = _is_wanted(endpoint_id, directory)
    if gate.state == "open":
        if not (paused and wanted):
            return gate, "enter", "none"
        return msgspec.structs.replace(gate, applied=offset, state="aside", stint=""), "aside", "none"
    if not wanted:
        return ResumeGate(offset, "held"), "hold", "none"
    if gate.state == "held" and paused:  # a pause may last longer than lines have room
        return msgspec.structs.replace(gate, applied=offset, state="aside", stint=""), "aside", "retreat"
    return gate, "aside" if gate.state == "aside" else "hold", "none"


def comes_back(gate: ResumeGate, offset: int, endpoint_id: str, directory: Directory) -> tuple[ResumeGate, bool]:
    """A delivery has come back, since its endpoint was paused; whether its line stops.

    The directory must be as recent as the reading of the record at `offset`.
    """
    endpoint = directory.endpoint(endpoint_id)
    stops = endpoint is not None and endpoint.status == "paused"
    if stops and gate.state == "open":
        return msgspec.structs.replace(gate, applied=offset, state="aside", stint=""), True
    return gate, stops


def obey(
    gate: ResumeGate, offset: int, step: GateStep, endpoint_id: str, directory: Directory
) -> tuple[ResumeGate, GateMove]:
    """The step at `offset`; one that is not the present stint's, or is read again, moves nothing."""
    if offset <= gate.applied:
        return gate, "none"
    if step.to == "aside":
        if not _is_wanted(endpoint_id, directory):  # it has ended meanwhile, and nobody would bring what is held
            return gate, "none"
        return ResumeGate(offset, "aside", step.stint), "retreat, go on"
    if step.stint != gate.stint and step.stint:
        return gate, "none"
    if step.to == "held":
        return ResumeGate(offset, "held", step.stint), "none"
    finished = step.stint and gate.state == "held"
    if not finished and directory.brings(endpoint_id):  # the work was given up; another resume is to come
        return gate, "none"
    if gate.state == "open" and directory.endpoint(endpoint_id) is not None:
        return gate, "none"
    return ResumeGate(offset), "let go"


def _is_wanted(endpoint_id: str, directory: Directory) -> bool:
    """Whether what is put aside now is brought back, in order."""
    endpoint = directory.endpoint(endpoint_id)
    return endpoint is not None and endpoint.ordering == "fifo" and directory.brings(endpoint_id)
