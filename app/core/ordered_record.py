"""The records of deliveries.ordered: arrivals (a delivery's own record), settlements, and orders of an operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast, get_args

import msgspec

from app.core.delivery_record import Header, number, texts
from app.core.errors import Defect
from app.core.fifo import Outcome


class Arrival(msgspec.Struct, frozen=True):
    """A delivery that has to be in order."""


class Settlement(msgspec.Struct, frozen=True):
    """What became of an arrival."""

    arrival: int
    outcome: Outcome


class Instruction(msgspec.Struct, frozen=True):
    """What an operator wants of a line."""

    order: Literal["skip", "drop"]


Ordered = Arrival | Settlement | Instruction

_OUTCOMES = frozenset(get_args(Outcome))
#: characters of an ordering key, as at intake
_LONGEST_KEY = 512


def settlement(arrival: int, outcome: Outcome, ordering_key: str) -> list[Header]:
    """The headers of a settlement; its key is the endpoint's id."""
    return [("settled", b"%d" % arrival), ("outcome", outcome.encode()), ("ordering-key", ordering_key.encode())]


def instruction(order: Literal["skip", "drop"], ordering_key: str) -> list[Header]:
    """The headers of an operator's order; its key is the endpoint's id."""
    return [("order", order.encode()), ("ordering-key", ordering_key.encode())]


def read(headers: Iterable[Header]) -> tuple[str, Ordered]:
    """The ordering key, and what the record says; `Defect` when it is not ours."""
    try:
        named = texts(headers)
        key = named["ordering-key"]
        if len(key) > _LONGEST_KEY:
            raise ValueError(f"an ordering key of {len(key)} characters")
        if "settled" in named:
            if named["outcome"] not in _OUTCOMES:
                raise ValueError(named["outcome"])
            return key, Settlement(number(named["settled"]), cast(Outcome, named["outcome"]))
        if "order" in named:
            if named["order"] not in ("skip", "drop"):
                raise ValueError(named["order"])
            return key, Instruction(cast(Literal["skip", "drop"], named["order"]))
        return key, Arrival()
    except (KeyError, ValueError) as error:
        raise Defect(f"a record of deliveries.ordered is not readable: {error!r}") from error
