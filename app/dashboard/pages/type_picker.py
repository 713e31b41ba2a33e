"""The event types that a form offers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.core.errors import Unavailable
from app.dashboard.request import PageContext, PageRequest

_RECENT = 50


async def recent_types(desk: PageContext, visit: PageRequest) -> Sequence[str]:
    """The types of the tenant's latest events, the latest first; none where the read model is not available."""
    try:
        return await desk.api.reads.recent_types(visit.caller.tenant, visit.caller.mode, limit=_RECENT)
    except Unavailable:
        return ()


async def offered_types(desk: PageContext, visit: PageRequest, declared: Iterable[str]) -> list[str]:
    """The types of recent events, then the declared ones."""
    return list(dict.fromkeys([*await recent_types(desk, visit), *declared]))
