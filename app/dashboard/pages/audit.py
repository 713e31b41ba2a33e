"""The page of the audit log."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.handlers import audit
from app.core.errors import Unavailable
from app.dashboard.request import PageContext, PageRequest, PageResult, TemplatePage


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """The latest actions in the tenant and mode."""
    call = msgspec.structs.replace(
        visit.call(),
        query={"limit": "50", "cursor": visit.query["cursor"]} if visit.query.get("cursor") else {"limit": "50"},
    )
    values: dict[str, Any] = {"entries": (), "cursor": None, "has_reads": True}
    try:
        values["entries"], values["cursor"] = await audit.entries(desk.api, call)
    except Unavailable:
        values["has_reads"] = False
    names = {
        each.id: each.name or f"…{each.last4}"
        for each in desk.api.feed.directory.keys.values()
        if each.tenant == visit.caller.tenant
    }
    return TemplatePage(template="audit.html", values=values | {"keys": names})
