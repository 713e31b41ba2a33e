"""Replays: what an endpoint is given after the fact, and how far that is."""

from __future__ import annotations

from app.core.commands import CancelReplay
from app.core.ingest import iso
from app.core.model import Replay
from app.roles.api.calls import Answer, Call, Services
from app.roles.api.contract import ReplayOut
from app.roles.api.pages import page
from app.roles.api.problems import not_found


async def list_(api: Services, call: Call) -> Answer:
    """All replays of the key's tenant and mode, oldest first."""
    mine = [each for each in api.feed.directory.replays.values() if _is_mine(each, call)]
    return Answer(body=page(call, sorted(mine, key=_order), _order, shown))


async def get(api: Services, call: Call) -> Answer:
    """One replay."""
    return Answer(body=shown(_owned(api, call)))


async def cancel(api: Services, call: Call) -> Answer:
    """Append nothing more of it."""
    replay = _owned(api, call)
    await api.command(CancelReplay(replay.id), replay.endpoint_id)
    return Answer(body=shown(_owned(api, call)))


def shown(replay: Replay) -> ReplayOut:
    """What a customer sees of a replay."""
    return ReplayOut(
        id=replay.id, endpoint=replay.endpoint_id, reason=replay.reason, state=replay.state, sent=replay.sent,
        created_at=iso(replay.created_at_ms), updated_at=iso(replay.updated_at_ms),
    )  # fmt: skip


def _owned(api: Services, call: Call) -> Replay:
    replay = api.feed.directory.replays.get(call.path["id"])
    if replay is None or not _is_mine(replay, call):
        raise not_found("replay", call.path["id"])
    return replay


def _is_mine(replay: Replay, call: Call) -> bool:
    return (replay.tenant, replay.mode) == (call.caller.tenant, call.caller.mode)


def _order(replay: Replay) -> str:
    return f"{replay.created_at_ms:015}/{replay.id}"
