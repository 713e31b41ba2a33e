"""The limit on suspensions that an endpoint's state has."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.model.endpoint import Suspension

MAX_SUSPENSIONS = 8
#: offsets in all of them: with 1,000 partitions they take 160 KB of the 256 KB that a state may have
MAX_SUSPENSION_OFFSETS = 8_000


def bounded(suspensions: Sequence[Suspension]) -> tuple[Suspension, ...]:
    """The latest suspensions within the limits. The last disablement always stays, because it can be recovered."""
    disabled = [at for at, suspension in enumerate(suspensions) if suspension.kind == "disabled"]
    required = {len(suspensions) - 1, *disabled[-1:]}
    room = MAX_SUSPENSION_OFFSETS - sum(_offsets(suspensions[at]) for at in required)
    chosen = set(required)
    for at in reversed(range(len(suspensions))):
        if at in chosen:
            continue
        room -= _offsets(suspensions[at])
        if room < 0 or len(chosen) == MAX_SUSPENSIONS:
            break
        chosen.add(at)
    return tuple(suspensions[at] for at in sorted(chosen))


def _offsets(suspension: Suspension) -> int:
    """The number of offsets that a suspension has, or will have at its end."""
    return len(suspension.begin) + len(suspension.end if suspension.end is not None else suspension.begin)
