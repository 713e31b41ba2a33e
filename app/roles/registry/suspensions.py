"""How much an endpoint remembers of the times in which it was paused or disabled."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.model.endpoint import Suspension

MAX_HOLDS = 8
#: offsets of partitions in them: with 1,000 partitions they are 160 KB of the 256 KB that a state may have
MAX_HOLD_OFFSETS = 8_000


def bounded(holds: Sequence[Suspension]) -> tuple[Suspension, ...]:
    """The latest holds that a state has room for; the last disablement stays: only it can be recovered."""
    disabled = [at for at, hold in enumerate(holds) if hold.kind == "disabled"]
    first_kept = {len(holds) - 1, *disabled[-1:]}
    room = MAX_HOLD_OFFSETS - sum(_offsets(holds[at]) for at in first_kept)
    chosen = set(first_kept)
    for at in reversed(range(len(holds))):
        if at in chosen:
            continue
        room -= _offsets(holds[at])
        if room < 0 or len(chosen) == MAX_HOLDS:
            break
        chosen.add(at)
    return tuple(holds[at] for at in sorted(chosen))


def _offsets(hold: Suspension) -> int:
    """How many offsets a hold has, or will have at its end."""
    return len(hold.begin) + len(hold.end if hold.end is not None else hold.begin)
