"""Which process is restarted or killed when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

#: one disturbance in so many is kill -9, the others are SIGTERM
_KILLS = 3
#: seconds between two, in a run that is long enough
_EVERY_S = 180.0
#: seconds at the begin of a shift without one: the judge learns there how fast this machine is
QUIET_S = 25.0


@dataclass(slots=True, frozen=True)
class Disturbance:
    """`fault` is a name of tests/faults/faults.py; seconds since the begin of the load."""

    at: float
    fault: str


def plan(names: Sequence[str], load_s: float, shift_s: float, dice: Random) -> list[Disturbance]:
    """One half of the processes in the first half of the load, the other half in the second one.

    So each process also has a long life without a restart, in which a leak can be seen.
    """
    every = min(_EVERY_S, load_s / 6)
    order = dice.sample(names, len(names))
    halves = order[: (len(order) + 1) // 2], order[(len(order) + 1) // 2 :]
    made = []
    for number in range(int(load_s / every)):
        at = (number + 0.6) * every
        since = at % shift_s
        at += max(0.0, QUIET_S - since)
        half = halves[at >= load_s / 2]
        verb = "kill" if number % _KILLS == _KILLS - 1 else "restart"
        made.append(Disturbance(at, f"{verb} {half[number % len(half)]}"))
    return [each for each in made if each.at < load_s]
