"""What a replay appends, in which order and at what pace: the decisions of the replay role.

Rules of this file
- A replay's `done` is, for each partition, the lowest offset that is not finished. A crash goes on there: what was
  finished above it is appended again, nothing is ever left out.
- A replay never fills its endpoint's lane: `Window` allows so many deliveries that have not been attempted.
- What a pause has held back comes oldest first within the bounds of a look-ahead (`OldestFirst`); what is read from
  events.raw again comes in the order of the records' timestamps (`Merge`), as fan-out decided it (replay_choice.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay

#: the attempt of a delivery may be deferred: after so long without any, one more goes
STALLED_S = 60.0
#: so long without any, and other endpoints of the replay are waited for no longer
STUCK_S = 5.0


def workable(directory: Directory, without: Collection[str]) -> list[Replay]:
    """The replays that can be worked on now, oldest first: of each endpoint one, and of each tenant's and mode's one.

    A resume or a recovery whose endpoint is paused or disabled waits; a replay goes on (`Fate`). One whose endpoint is
    gone has only to be ended.
    """
    first: dict[tuple[str, str, str, bool], Replay] = {}
    still = [each for each in directory.replays.values() if each.state in ("pending", "running")]
    for each in sorted(still, key=lambda each: (each.created_at_ms, each.id)):
        if each.id not in without:
            place = (each.tenant, each.mode, each.endpoint_id, each.reason == "replay")
            first.setdefault(place, each)
    return [each for each in first.values() if not _waits(each, directory)]


def _waits(replay: Replay, directory: Directory) -> bool:
    endpoint = directory.endpoint(replay.endpoint_id) if replay.reason != "replay" else None
    return endpoint is not None and endpoint.status != "active"


ReplayRoute = Literal["deliver", "park", "skip"]


def fate(endpoint: Endpoint | None) -> ReplayRoute:
    """What becomes of a replayed delivery: a paused endpoint's is put aside for its resume, as fan-out does it."""
    if endpoint is None or endpoint.status == "disabled":
        return "skip"
    return "park" if endpoint.status == "paused" else "deliver"


def parked_until(endpoint: Endpoint, replay: Replay) -> int | None:
    """Where a resume ends at the latest: what a later pause has put aside belongs to its own resume."""
    suspensions, own = endpoint.suspensions, (replay.begin, replay.end, replay.dead_begin)
    # Holds between which nothing happened look alike: better all of their resumes give it than none.
    mine = [
        at
        for at, suspension in enumerate(suspensions)
        if (suspension.begin, suspension.end, suspension.dead_begin) == own
    ]
    later = (
        suspensions[mine[-1] + 1 :] if mine else [each for each in suspensions if each.since_ms >= replay.created_at_ms]
    )
    return later[0].dead_begin if later else None
