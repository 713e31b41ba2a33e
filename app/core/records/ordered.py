"""The records of deliveries.ordered: arrivals, settlements, operator instructions, and steps of a resume gate.

The key is the endpoint's id. An arrival is the delivery's own record; the others have headers only:

    settles, outcome, ordering-key      settlement; one with the outcome `parked` is the delivery's own record again
    instruction, ordering-key           operator instruction
    gate, resume-run                    gate step
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast, get_args

import msgspec

from app.core.errors import Defect
from app.core.records.headers import RecordHeader, number, texts


class Arrival(msgspec.Struct, frozen=True):
    """A delivery of an ordered endpoint."""

    #: a resume has appended it
    resumed: bool = False


class Settlement(msgspec.Struct, frozen=True):
    """How an arrival ended; with the outcome `parked` it waits again, and the record is the delivery's own."""

    #: the offset of the arrival
    arrival: int
    outcome: SettledAs


class OperatorInstruction(msgspec.Struct, frozen=True):
    """An operator's instruction to a key queue."""

    instruction: Literal["skip", "drop"]


class GateStep(msgspec.Struct, frozen=True):
    """A step of an endpoint's resume gate; `resume_run` is empty when the sequencer itself opens an abandoned gate."""

    to: GateState
    resume_run: str = ""


OrderedRecord = Arrival | Settlement | OperatorInstruction | GateStep
SettledAs = Literal["delivered", "dead", "cancelled", "parked"]
_OUTCOMES = frozenset(get_args(SettledAs))
GateState = Literal["open", "parking", "holding"]
_STATES = frozenset(get_args(GateState))
#: the header of an arrival that a resume has appended
RESUMED: RecordHeader = ("resumed", b"1")
#: headers of this topic, which are not the delivery's
_OWN = frozenset(("arrival", "released", "settles", "outcome", RESUMED[0]))
#: characters of an ordering key at most, as at intake
_MAX_KEY = 512


def settlement(arrival: int, outcome: SettledAs, ordering_key: str) -> list[RecordHeader]:
    """The headers of a settlement."""
    return [("settles", b"%d" % arrival), ("outcome", outcome.encode()), ("ordering-key", ordering_key.encode())]


def comes_back(arrival: int) -> list[RecordHeader]:
    """The headers that make a delivery's record the settlement of its arrival, because its endpoint is paused."""
    return [("settles", b"%d" % arrival), ("outcome", b"parked")]


def of_delivery(headers: Iterable[RecordHeader]) -> list[RecordHeader]:
    """The headers of the delivery among those of a record."""
    return [(name, text) for name, text in headers if text is not None and name not in _OWN]


def step(to: GateState, resume_run: str = "") -> list[RecordHeader]:
    """The headers of a gate step."""
    return [("gate", to.encode()), ("resume-run", resume_run.encode())]


def instruction(operation: Literal["skip", "drop"], ordering_key: str) -> list[RecordHeader]:
    """The headers of an operator's instruction."""
    return [("instruction", operation.encode()), ("ordering-key", ordering_key.encode())]


def read(headers: Iterable[RecordHeader]) -> tuple[str, OrderedRecord]:
    """The ordering key (empty for a gate step), and the content of a record.

    Raises `Defect` when a header is missing or malformed.
    """
    try:
        named = texts(headers)
        if "gate" in named:
            if named["gate"] not in _STATES:
                raise ValueError(named["gate"])
            return "", GateStep(cast(GateState, named["gate"]), named.get("resume-run", ""))
        key = named["ordering-key"]
        if len(key) > _MAX_KEY:
            raise ValueError(f"an ordering key of {len(key)} characters")
        if "settles" in named:
            if named["outcome"] not in _OUTCOMES:
                raise ValueError(named["outcome"])
            return key, Settlement(number(named["settles"]), cast(SettledAs, named["outcome"]))
        if "instruction" in named:
            if named["instruction"] not in ("skip", "drop"):
                raise ValueError(named["instruction"])
            return key, OperatorInstruction(cast(Literal["skip", "drop"], named["instruction"]))
        return key, Arrival(RESUMED[0] in named)
    except (KeyError, ValueError) as error:
        raise Defect(f"a record of deliveries.ordered cannot be decoded: {error!r}") from error
