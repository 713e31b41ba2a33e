"""Which replays can be worked on, and what happens to a replayed delivery.

Rules of this room
- A replay's `done` is, for each partition, the lowest offset that is not finished. After a crash the next worker
  continues there: deliveries above it may be appended again, none is left out.
- A replay never fills its endpoint's lane: `UnattemptedWindow` limits the deliveries that have not been attempted.
- Parked deliveries are appended oldest first, within a bounded look-ahead (`OldestFirstQueue`). Records of events.raw
  are replayed in the order of their timestamps (`TimestampMerge`), as fan-out decided about them (selection.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay

#: seconds without an attempt after which one more delivery is appended: attempts may be deferred
STALLED_S = 60.0
#: seconds without an attempt after which an endpoint no longer holds up the replay's other endpoints
STUCK_S = 5.0


def workable(directory: Directory, without: Collection[str]) -> list[Replay]:
    """The replays that can be worked on now, oldest first, except those in `without`.

    There is at most one for each endpoint, and one for all endpoints of each tenant and mode. A resume or recovery
    waits while its endpoint is paused or disabled; a replay of a time range does not, see `route_of`. A replay whose
    endpoint has been removed only has to be ended.
    """
    first: dict[tuple[str, str, str, bool], Replay] = {}
    unfinished = [each for each in directory.replays.values() if each.state in ("pending", "running")]
    for each in sorted(unfinished, key=lambda each: (each.created_at_ms, each.id)):
        if each.id not in without:
            scope = (each.tenant, each.mode, each.endpoint_id, each.reason == "replay")
            first.setdefault(scope, each)
    return [each for each in first.values() if not _waits(each, directory)]


def _waits(replay: Replay, directory: Directory) -> bool:
    endpoint = directory.endpoint(replay.endpoint_id) if replay.reason != "replay" else None
    return endpoint is not None and endpoint.status != "active"


ReplayRoute = Literal["deliver", "park", "skip"]


def route_of(endpoint: Endpoint | None) -> ReplayRoute:
    """Where a replayed delivery goes: that of a paused endpoint is parked for its resume, as in fan-out."""
    if endpoint is None or endpoint.status == "disabled":
        return "skip"
    return "park" if endpoint.status == "paused" else "deliver"


def parked_until(endpoint: Endpoint, replay: Replay) -> int | None:
    """The offset of deliveries.dead at which a resume ends; None: at the end of the log.

    What a later pause has parked belongs to the resume of that pause.
    """
    suspensions, own = endpoint.suspensions, (replay.begin, replay.end, replay.dead_begin)
    # Suspensions without records in between have equal offsets: all of their resumes deliver rather than none.
    mine = [
        at
        for at, suspension in enumerate(suspensions)
        if (suspension.begin, suspension.end, suspension.dead_begin) == own
    ]
    later = (
        suspensions[mine[-1] + 1 :] if mine else [each for each in suspensions if each.since_ms >= replay.created_at_ms]
    )
    return later[0].dead_begin if later else None
