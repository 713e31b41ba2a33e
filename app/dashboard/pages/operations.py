"""The operator's page about topics, groups and roles."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import Unavailable
from app.dashboard.live_subscriptions import viewer_of
from app.dashboard.request import EventStream, PageContext, PageRequest, PageResult, TemplatePage
from app.ports.cluster import ClusterState

_EVERY_S = 5.0


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """The page with the current state; a stream keeps it up to date."""
    return TemplatePage(template="operations.html", values={"state": await _state(desk), "roles": _roles(desk)})


async def live(desk: PageContext, visit: PageRequest) -> PageResult:
    """The tables, whenever they change."""
    last = ""

    async def sample() -> Sequence[tuple[str, str]]:
        nonlocal last
        text = desk.render("operations_tables.html", state=await _state(desk), roles=_roles(desk))
        fresh, last = text != last, text
        return [("tables", text)] if fresh else []

    frames = desk.hub.subscribe(
        ("operations",), sample, every_s=_EVERY_S, viewer=viewer_of(desk, visit), last_id=visit.last_event_id
    )
    return EventStream(frames=frames)


async def _state(desk: PageContext) -> ClusterState | None:
    """The state of the cluster; None if Kafka does not answer."""
    try:
        return await desk.operations.cluster()
    except Unavailable:
        return None


def _roles(desk: PageContext) -> list[tuple[str, str | None]]:
    return sorted(desk.operations.readiness().items())
