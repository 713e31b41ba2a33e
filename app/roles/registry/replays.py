"""What a command does to the registry's replays: `replay/<id>`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint, Suspension
from app.core.model.event_types import is_pattern
from app.core.model.replay import Replay
from app.core.records.command import AdvanceReplay, CancelReplay, CreateReplay, PauseReplay, ResumeReplay

#: replays of an endpoint, and those of all endpoints of a tenant and mode, that are remembered after their end
MAX_REPLAYS = 20
#: replays of a tenant and mode that have not ended
MAX_OPEN = 20
#: event types that one replay may name
MAX_TYPES = 100
_ENDED = ("done", "cancelled")

ReplayAction = CreateReplay | AdvanceReplay | PauseReplay | ResumeReplay | CancelReplay
#: a replay's new state, or the id of one that is forgotten
ReplayChange = Sequence[Replay | str]


def decide(action: ReplayAction, directory: Directory, now_ms: int) -> ReplayChange:
    """What the command does; raises `CommandRefused`. A replay that has ended stays as it is."""
    if isinstance(action, CreateReplay):
        return _create(action.replay, directory, now_ms)
    replay = directory.replays.get(action.id)
    if replay is None:
        raise CommandRefused("not_found", f"there is no replay {action.id}")
    if replay.state in _ENDED:
        return []
    match action:
        case AdvanceReplay(state=state):
            told = {"done": action.done, "sent": action.sent, "parked": action.parked, "skipped": action.skipped}
            paused = replay.state == "paused" and state == "running"
            return [_changed(replay, now_ms, state="paused" if paused else state, **told)]
        case PauseReplay():
            return [_changed(replay, now_ms, state="paused")] if replay.state != "paused" else []
        case ResumeReplay():
            going = "running" if replay.done else "pending"
            return [_changed(replay, now_ms, state=going)] if replay.state == "paused" else []
        case CancelReplay():
            return [_changed(replay, now_ms, state="cancelled")]


def of_suspension(
    endpoint: Endpoint,
    suspension: Suspension,
    replay_id: str,
    reason: Literal["resume", "recover"],
    directory: Directory,
    now_ms: int,
) -> ReplayChange:
    """A replay of what a suspension has kept from its endpoint."""
    replay = Replay(
        id=replay_id,
        tenant=endpoint.tenant,
        mode=endpoint.mode,
        endpoint_id=endpoint.id,
        reason=reason,
        begin=suspension.begin,
        end=suspension.end or {},
        dead_begin=suspension.dead_begin if reason == "resume" else None,
        created_at_ms=now_ms,
        version=0,
    )
    return [_changed(replay, now_ms), *_outlived(directory, replay)]


def _create(replay: Replay, directory: Directory, now_ms: int) -> ReplayChange:
    if replay.id in directory.replays:
        return []
    found = problems(replay, directory)
    still = [each for each in directory.replays.values() if _is_open(each, replay)]
    if len(still) >= MAX_OPEN:
        found.append(f"{len(still)} replays of this tenant and mode have not ended: wait, or cancel some")
    if found:
        raise CommandRefused("invalid", "; ".join(found))
    fresh = msgspec.structs.replace(
        replay, state="pending", done={}, sent=0, parked=0, skipped=0, created_at_ms=now_ms, version=0
    )
    return [_changed(fresh, now_ms), *_outlived(directory, fresh)]


def problems(replay: Replay, directory: Directory) -> list[str]:
    """What is wrong with a replay that is asked for, a sentence each, begun with the field that it is about."""
    found = []
    if replay.endpoint_id:
        endpoint = directory.endpoint(replay.endpoint_id)
        if endpoint is None or (endpoint.tenant, endpoint.mode) != (replay.tenant, replay.mode):
            found.append(f"endpoint: there is no endpoint {replay.endpoint_id}")
        elif endpoint.status == "disabled":
            found.append(f"endpoint: {replay.endpoint_id} is disabled: enable it first")
    wrong = [each for each in replay.types if not is_pattern(each)]
    if wrong:
        found.append(f"types: {', '.join(map(repr, wrong))}: write an exact type, `*`, or a prefix such as `a.*`")
    if len(replay.types) > MAX_TYPES:
        found.append(f"types: {MAX_TYPES} at most")
    if replay.rate is not None and not 0 < replay.rate <= 1e6:
        found.append("rate: deliveries per second, more than 0 and at most 1000000")
    return found


def _is_open(each: Replay, replay: Replay) -> bool:
    mine = (each.tenant, each.mode, each.reason) == (replay.tenant, replay.mode, replay.reason)
    return mine and each.state not in _ENDED


def _outlived(directory: Directory, replay: Replay) -> list[str]:
    """The oldest of those that have ended, for the same endpoint or for all."""
    place = (replay.tenant, replay.mode, replay.endpoint_id)
    ended = [
        each
        for each in directory.replays.values()
        if (each.tenant, each.mode, each.endpoint_id) == place and each.state in _ENDED
    ]
    ended.sort(key=lambda each: each.created_at_ms)
    return [each.id for each in ended[: max(0, len(ended) - MAX_REPLAYS + 1)]]


def _changed(replay: Replay, now_ms: int, **fields: Any) -> Replay:
    return msgspec.structs.replace(replay, **fields, version=replay.version + 1, updated_at_ms=now_ms)
