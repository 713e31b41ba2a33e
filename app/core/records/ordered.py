"""The records of deliveries.ordered: arrivals (a delivery's own record), settlements, orders of an operator, and what a
resume says to its endpoint's gate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast, get_args

import msgspec

from app.core.errors import Defect
from app.core.records.headers import RecordHeader, number, texts


class Arrival(msgspec.Struct, frozen=True):
    """A delivery that has to be in order."""

    #: a resume brings it
    resumed: bool = False


class Settlement(msgspec.Struct, frozen=True):
    """What became of an arrival; the record of one that is `parked` is the delivery's own, as it is now."""

    arrival: int
    outcome: SettledAs


class OperatorInstruction(msgspec.Struct, frozen=True):
    """What an operator wants of a line."""

    instruction: Literal["skip", "drop"]


class GateStep(msgspec.Struct, frozen=True):
    """What a resume says in deliveries.ordered. `resume_run` is empty where the sequencer asks for an `open` itself."""

    to: GateState
    resume_run: str = ""


OrderedRecord = Arrival | Settlement | OperatorInstruction | GateStep
SettledAs = Literal["delivered", "dead", "cancelled", "parked"]
_OUTCOMES = frozenset(get_args(SettledAs))
GateState = Literal["open", "parking", "holding"]
_STATES = frozenset(get_args(GateState))
#: the mark of an arrival that a resume brings
RESUMED: RecordHeader = ("resumed", b"1")
#: of a record of this topic, not of the delivery itself
_OWN = frozenset(("arrival", "released", "settles", "outcome", RESUMED[0]))
#: characters of an ordering key, as at intake
_LONGEST_KEY = 512


def settlement(arrival: int, outcome: SettledAs, ordering_key: str) -> list[RecordHeader]:
    """The headers of a settlement; its key is the endpoint's id."""
    return [("settles", b"%d" % arrival), ("outcome", outcome.encode()), ("ordering-key", ordering_key.encode())]


def comes_back(arrival: int) -> list[RecordHeader]:
    """What makes a delivery's record the settlement of its arrival, where its endpoint is paused: it waits again."""
    return [("settles", b"%d" % arrival), ("outcome", b"parked")]


def of_delivery(headers: Iterable[RecordHeader]) -> list[RecordHeader]:
    """What of a record's headers is the delivery's."""
    return [(name, text) for name, text in headers if text is not None and name not in _OWN]


def step(to: GateState, resume_run: str = "") -> list[RecordHeader]:
    """The headers of what a resume says to a gate; its key is the endpoint's id."""
    return [("gate", to.encode()), ("resume-run", resume_run.encode())]


def instruction(order: Literal["skip", "drop"], ordering_key: str) -> list[RecordHeader]:
    """The headers of an operator's order; its key is the endpoint's id."""
    return [("instruction", order.encode()), ("ordering-key", ordering_key.encode())]


def read(headers: Iterable[RecordHeader]) -> tuple[str, OrderedRecord]:
    """The ordering key (of a step: none), and what the record says; `Defect` when it is not ours."""
    try:
        named = texts(headers)
        if "gate" in named:
            if named["gate"] not in _STATES:
                raise ValueError(named["gate"])
            return "", GateStep(cast(GateState, named["gate"]), named.get("resume-run", ""))
        key = named["ordering-key"]
        if len(key) > _LONGEST_KEY:
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
        raise Defect(f"a record of deliveries.ordered is not readable: {error!r}") from error
