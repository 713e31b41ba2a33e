"""Who changed what."""

from __future__ import annotations

from app.roles.api import audit
from app.roles.api.ui.visit import Desk, Page, Result, Visit


async def list_(desk: Desk, visit: Visit) -> Result:
    """The latest changes of the tenant and mode."""
    found = audit.entries(desk.api, visit.call())
    names = {each.id: each.name or f"…{each.last4}" for each in desk.api.feed.directory.keys.values()
             if each.tenant == visit.caller.tenant}  # fmt: skip
    return Page(template="audit.html", values={"entries": found, "keys": names})
