"""What was given up, grouped by why, so that one look shows what to repair."""

from __future__ import annotations

from collections.abc import Sequence

from app.core import moments
from app.core.errors import Unavailable
from app.ports.readmodel import DeadGroup
from app.roles.api.ui.deliveries import urls
from app.roles.api.ui.visit import Desk, Page, Result, Visit

_MOST = 100


async def list_(desk: Desk, visit: Visit) -> Result:
    """The largest group first."""
    now_ms = desk.api.clock.now_ms()
    since, wrong = visit.query.get("since", "7d"), ""
    try:
        since_ms = moments.moment(since, now_ms)
    except ValueError as error:
        since_ms, wrong = moments.moment("7d", now_ms), str(error)
    groups: Sequence[DeadGroup] = ()
    has_reads = True
    try:
        groups = await desk.api.reads.dead_groups(
            visit.caller.tenant, visit.caller.mode, since_ms=since_ms, limit=_MOST
        )
    except Unavailable:
        has_reads = False
    values = {"has_reads": has_reads, "groups": groups, "names": urls(desk, visit), "since": since, "wrong": wrong}
    return Page(template="dead.html", values=values)
