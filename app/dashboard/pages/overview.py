"""The overview: how a tenant's deliveries are doing, live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from app.api.handlers import replays
from app.core.model.endpoint import ShownStatus
from app.core.model.endpoint_kind import title_of
from app.core.readmodel.rows import NoticeRow
from app.dashboard import hourly_charts
from app.dashboard.live_subscriptions import stream
from app.dashboard.request import EventStream, PageContext, PageRequest, PageResult, TemplatePage

_EVERY_S = 2.0


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """The overview: tiles, a chart, failing endpoints and running replays."""
    caller = visit.caller
    endpoints = desk.api.feed.directory.endpoints(caller.tenant, caller.mode)
    by_status = {
        status: [each for each in endpoints if each.shown_status == status] for status in get_args(ShownStatus)
    }
    mine = [
        each
        for each in desk.api.feed.directory.replays.values()
        if (each.tenant, each.mode) == (caller.tenant, caller.mode)
    ]
    running = [replays.present_replay(each) for each in mine if each.state in ("pending", "running", "paused")]
    notices: Sequence[NoticeRow] = ()
    groups, names = [], {each.id: title_of(each) for each in endpoints}
    day = await hourly_charts.of_day(desk, visit)
    if day is not None:
        notices = await desk.api.reads.notices(caller.tenant, caller.mode, endpoint_id=None, limit=5)
        since_ms = desk.api.clock.now_ms() - 24 * hourly_charts.HOUR_MS
        groups = list(await desk.api.reads.dead_groups(caller.tenant, caller.mode, since_ms=since_ms, limit=5))
    values = {
        "by_status": by_status,
        "total": len(endpoints),
        "running": running,
        "notices": notices,
        "groups": groups,
        "names": names,
        "day": day,
        "points": hourly_charts.as_json(day) if day is not None else "",
    }
    return TemplatePage(template="overview.html", values=values)


async def live(desk: PageContext, visit: PageRequest) -> PageResult:
    """The numbers, whenever they change."""
    last = ""

    async def sample() -> Sequence[tuple[str, str]]:
        nonlocal last
        day = await hourly_charts.of_day(desk, visit)
        text = hourly_charts.as_json(day) if day is not None else ""
        if text == last:
            return []
        last = text
        return [("day", text)]

    return EventStream(frames=stream(desk, visit, "overview", sample, every_s=_EVERY_S))
