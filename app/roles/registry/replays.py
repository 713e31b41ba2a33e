"""The effect of a command on the registry's replays (`replay/<id>`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, assert_never

import msgspec

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint, Suspension
from app.core.model.event_types import is_pattern
from app.core.model.replay import Replay
from app.core.records.command import AdvanceReplay, CancelReplay, CreateReplay, PauseReplay, ResumeReplay

#: ended replays that remain in the registry, for each endpoint, and for those of all endpoints of a tenant and mode
MAX_REPLAYS = 20
#: open replays of a tenant and mode
MAX_OPEN = 20
#: event types that one replay may name
MAX_TYPES = 100
_ENDED = ("done", "cancelled")

ReplayAction = CreateReplay | AdvanceReplay | PauseReplay | ResumeReplay | CancelReplay
#: new states of replays, and ids of replays to remove
ReplayChange = Sequence[Replay | str]


def decide(action: ReplayAction, directory: Directory, now_ms: int) -> ReplayChange:
    """The changes that a command causes; none for a replay that has ended. Raises `CommandRefused`."""
    if isinstance(action, CreateReplay):
        return _create(action.replay, directory, now_ms)
    replay = directory.replays.get(action.id)
    if replay is None:
        raise CommandRefused("not_found", f"there is no replay {action.id}")
    if replay.state in _ENDED:
        return []
    match action:
        case AdvanceReplay(state=state):
            progress = {"done": action.done, "sent": action.sent, "parked": action.parked, "skipped": action.skipped}
            paused = replay.state == "paused" and state == "running"
            return [_changed(replay, now_ms, state="paused" if paused else state, **progress)]
        case PauseReplay():
            return [_changed(replay, now_ms, state="paused")] if replay.state != "paused" else []
        case ResumeReplay():
            going = "running" if replay.done else "pending"
            return [_changed(replay, now_ms, state=going)] if replay.state == "paused" else []
        case CancelReplay():
            return [_changed(replay, now_ms, state="cancelled")]
        case _:
            assert_never(action)


def of_suspension(
    endpoint: Endpoint,
    suspension: Suspension,
    replay_id: str,
    reason: Literal["resume", "recover"],
    directory: Directory,
    now_ms: int,
) -> ReplayChange:
    """A replay of what an endpoint missed during a suspension, and the removal of old replays."""
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
    return [_changed(replay, now_ms), *_expired(directory, replay)]


def _create(replay: Replay, directory: Directory, now_ms: int) -> ReplayChange:
    if replay.id in directory.replays:
        return []
    reasons = problems(replay, directory)
    unfinished = [each for each in directory.replays.values() if _is_open(each, replay)]
    if len(unfinished) >= MAX_OPEN:
        reasons.append(f"{len(unfinished)} replays of this tenant and mode have not ended: wait, or cancel some")
    if reasons:
        raise CommandRefused("invalid", "; ".join(reasons))
    fresh = msgspec.structs.replace(
        replay, state="pending", done={}, sent=0, parked=0, skipped=0, created_at_ms=now_ms, version=0
    )
    return [_changed(fresh, now_ms), *_expired(directory, fresh)]


def problems(replay: Replay, directory: Directory) -> list[str]:
    """The problems of a requested replay, one sentence each, which begins with the name of the field."""
    sentences = []
    if replay.endpoint_id:
        endpoint = directory.endpoint(replay.endpoint_id)
        if endpoint is None or (endpoint.tenant, endpoint.mode) != (replay.tenant, replay.mode):
            sentences.append(f"endpoint: there is no endpoint {replay.endpoint_id}")
        elif endpoint.status == "disabled":
            sentences.append(f"endpoint: {replay.endpoint_id} is disabled: enable it first")
    wrong = [each for each in replay.types if not is_pattern(each)]
    if wrong:
        sentences.append(f"types: {', '.join(map(repr, wrong))}: write an exact type, `*`, or a prefix such as `a.*`")
    if len(replay.types) > MAX_TYPES:
        sentences.append(f"types: {MAX_TYPES} at most")
    if replay.rate is not None and not 0 < replay.rate <= 1e6:
        sentences.append("rate: deliveries per second, more than 0 and at most 1000000")
    return sentences


def _is_open(each: Replay, replay: Replay) -> bool:
    mine = (each.tenant, each.mode, each.reason) == (replay.tenant, replay.mode, replay.reason)
    return mine and each.state not in _ENDED


def _expired(directory: Directory, replay: Replay) -> list[str]:
    """The ids of the oldest ended replays with the same endpoint that exceed the limit."""
    scope = (replay.tenant, replay.mode, replay.endpoint_id)
    ended = [
        each
        for each in directory.replays.values()
        if (each.tenant, each.mode, each.endpoint_id) == scope and each.state in _ENDED
    ]
    ended.sort(key=lambda each: each.created_at_ms)
    return [each.id for each in ended[: max(0, len(ended) - MAX_REPLAYS + 1)]]


def _changed(replay: Replay, now_ms: int, **fields: Any) -> Replay:
    return msgspec.structs.replace(replay, **fields, version=replay.version + 1, updated_at_ms=now_ms)
