"""Replays: deliver past events again, and report progress."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from app.api.contract.fields import FieldError
from app.api.contract.replays import ReplayEstimateOut, ReplayIn, ReplayOut, ReplayProgressOut
from app.api.handlers import replay_range
from app.api.handlers.delivery_filters import endpoint_id_of
from app.api.handlers.replay_range import TimeRange
from app.api.pagination import page
from app.api.problems import invalid, not_found, refused, reused
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.api.turnstile import Turnstile
from app.core.errors import CommandRefused
from app.core.model import ids, timestamps
from app.core.model.replay import OldestRecord, Replay, ReplayEstimate
from app.core.model.timestamps import iso
from app.core.records.command import CancelReplay, CreateReplay, PauseReplay, ResumeReplay
from app.core.topics.names import TopicName
from app.roles.registry import replays
from app.roles.replay import selection

#: a trial that takes longer is given up, and says how far it came
_COUNT_S = 60.0
#: each tenant may run one count at a time
_counts = Turnstile("count", at_once=2, wait_s=10.0)


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Start a replay, or count what it would deliver. A repeated Idempotency-Key returns the first replay."""
    body: ReplayIn = call.body
    key = call.idempotency_key
    caller = call.caller
    id_ = ids.asked_replay_id(caller.tenant, caller.mode, key) if key else api.minter.id("rpl")
    replay = api.feed.directory.replays.get(id_) if key else None
    if replay is None:
        replay = await _planned(api, call, id_, body)
        if body.dry_run:
            return await _tried(api, replay)
        await api.command(CreateReplay(replay), id_)
        replay = api.feed.directory.replays[id_]
    if key and replay.created_by != (key, call.fingerprint):
        raise reused()
    return ApiResponse(body=present_replay(replay), headers={"Location": f"/v1/replays/{id_}"})


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """All replays of the key's tenant and mode, oldest first."""
    mine = [each for each in api.feed.directory.replays.values() if _is_mine(each, call)]
    return ApiResponse(body=page(call, sorted(mine, key=_order), _order, present_replay))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One replay."""
    return ApiResponse(body=present_replay(_owned(api, call)))


async def cancel(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Cancel the replay: it appends no further deliveries."""
    return await _do(api, call, CancelReplay)


async def pause(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Pause the replay: it appends no further deliveries until it is resumed."""
    return await _do(api, call, PauseReplay)


async def resume(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Resume the replay where it was paused."""
    return await _do(api, call, ResumeReplay)


async def _do(api: ApiServices, call: ApiRequest, action: Any) -> ApiResponse:
    replay = _owned(api, call)
    await api.command(action(replay.id), replay.endpoint_id or replay.id)
    return ApiResponse(body=present_replay(_owned(api, call)))


async def _planned(api: ApiServices, call: ApiRequest, id_: str, body: ReplayIn) -> Replay:
    """The replay with its offset range, which is fixed from now on."""
    now_ms = api.clock.now_ms()
    try:
        span = TimeRange(*timestamps.span(body.from_, body.to, now_ms))
    except timestamps.BadTimeRange as error:
        raise invalid(FieldError(detail=error.detail, pointer=f"/{error.field}")) from error
    replay = Replay(
        id=id_,
        tenant=call.caller.tenant,
        mode=call.caller.mode,
        endpoint_id=endpoint_id_of(api, call, body.endpoint) or "",
        reason="replay",
        begin={},
        end={},
        types=tuple(body.types),
        only=body.only,
        rate=body.rate,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
        created_at_ms=now_ms,
        created_by=(call.idempotency_key, call.fingerprint) if call.idempotency_key else None,
    )
    problems = replays.problems(replay, api.feed.directory)
    if problems:
        raise refused(CommandRefused("invalid", "; ".join(problems)))
    begin, end, oldest = await _stretch(api, span, now_ms)
    warnings = replay_range.messages(span, oldest, now_ms)
    warnings += replay_range.outcomes_messages(span, await _outcomes(api, replay), replay.only)
    return msgspec.structs.replace(replay, begin=begin, end=end, messages=tuple(warnings))


async def _stretch(
    api: ApiServices, span: TimeRange, now_ms: int
) -> tuple[dict[int, int], dict[int, int], dict[int, OldestRecord]]:
    events = api.topics.name(TopicName.EVENTS_RAW)
    ends = await api.ends.ends(events)
    oldest = dict(await api.past.oldest(events, ends))

    async def offset_at(number: int, timestamp_ms: int) -> int:
        return await api.past.offset_at(events, number, timestamp_ms)

    begins = await asyncio.gather(*(offset_at(each, span.from_ms) for each in ends))
    if span.to_ms < now_ms:
        ends = dict(zip(ends, await asyncio.gather(*(offset_at(each, span.to_ms) for each in ends)), strict=True))
    begin = {number: max(at, oldest[number].offset) for number, at in zip(ends, begins, strict=True)}
    return begin, {number: max(begin[number], end) for number, end in ends.items()}, oldest


async def _outcomes(api: ApiServices, replay: Replay) -> dict[int, OldestRecord]:
    """The time of the oldest retained attempts of the replay's endpoints."""
    if replay.only == "all":
        return {}
    attempts = api.topics.name(TopicName.ATTEMPTS)
    endpoints = selection.covered(replay, api.feed.directory)
    numbers = sorted({api.partition_for(attempts, each.id.encode()) for each in endpoints})
    return dict(await api.past.oldest(attempts, numbers)) if numbers else {}


async def _tried(api: ApiServices, replay: Replay) -> ApiResponse:
    async with _counts.turn(replay.tenant):
        counts = await api.counter.count(replay, within_s=_COUNT_S)
    return ApiResponse(body=_trial(replay, counts), transient=True)


def _trial(replay: Replay, counts: ReplayEstimate) -> ReplayOut:
    tried = msgspec.structs.replace(replay, done=counts.read)
    answer = present_replay(tried)
    warnings = list(answer.messages)
    if not counts.complete and answer.progress is not None:
        warnings.append(
            f"counting was given up after {_COUNT_S:.0f} s, with {answer.progress.read} of {answer.progress.of} "
            "records read: there is more"
        )
    counted = ReplayEstimateOut(
        deliveries=sum(counts.endpoints.values()),
        endpoints=counts.endpoints,
        skipped=counts.skipped,
        filtered=counts.filtered,
        complete=counts.complete,
    )
    return msgspec.structs.replace(answer, id=None, state="counted", counted=counted, messages=warnings)


def present_replay(replay: Replay) -> ReplayOut:
    """A replay as the API shows it."""
    asked = replay.reason == "replay"
    return ReplayOut(
        id=replay.id,
        endpoint=replay.endpoint_id or None,
        reason=replay.reason,
        state=replay.state,
        from_=iso(replay.from_ms) if asked and replay.from_ms else None,
        to=iso(replay.to_ms) if asked else None,
        types=list(replay.types),
        only=replay.only,
        rate=replay.rate,
        messages=list(replay.messages),
        progress=_progress(replay),
        sent=replay.sent,
        put_aside=replay.parked,
        skipped=replay.skipped,
        counted=None,
        created_at=iso(replay.created_at_ms),
        updated_at=iso(replay.updated_at_ms),
    )


def _progress(replay: Replay) -> ReplayProgressOut | None:
    if replay.reason == "resume":
        return None
    begins = {number: min(replay.begin.get(number, 0), end) for number, end in replay.end.items()}
    done = {number: max(begin, replay.done.get(number, begin)) for number, begin in begins.items()}
    return ReplayProgressOut(
        read=sum(done.values()) - sum(begins.values()), of=sum(replay.end.values()) - sum(begins.values())
    )


def _owned(api: ApiServices, call: ApiRequest) -> Replay:
    replay = api.feed.directory.replays.get(call.path["id"])
    if replay is None or not _is_mine(replay, call):
        raise not_found("replay", call.path["id"])
    return replay


def _is_mine(replay: Replay, call: ApiRequest) -> bool:
    return (replay.tenant, replay.mode) == (call.caller.tenant, call.caller.mode)


def _order(replay: Replay) -> str:
    return f"{replay.created_at_ms:015}/{replay.id}"
