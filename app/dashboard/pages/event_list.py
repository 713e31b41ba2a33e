"""Lists of events with their outcomes: of a tenant and mode, and for the operator of all."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from app.api.contract.events import EventOutcome
from app.api.handlers import event_listing, events
from app.api.problems import ApiError
from app.core.errors import Unavailable
from app.dashboard.request import PageContext, PageRequest, PageResult, TemplatePage

_PAGE = "50"


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """A page of the tenant's events, newest first."""
    return await _page(desk, visit, "events.html", ("type", "id", "outcome", "since", "until"))


async def list_all(desk: PageContext, visit: PageRequest) -> PageResult:
    """A page of the events of all tenants, and of those that belong to none."""
    return await _page(desk, visit, "events_all.html", event_listing.QUERY)


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One event: its payload, and why each endpoint received it or did not."""
    query = {name: visit.query[name] for name in ("partition", "offset", "since") if visit.query.get(name)}
    event = (await events.get(desk.api, msgspec.structs.replace(visit.call(), query=query))).body
    return TemplatePage(template="event.html", values={"event": event})


async def _page(desk: PageContext, visit: PageRequest, template: str, names: tuple[str, ...]) -> PageResult:
    chosen = {name: visit.query.get(name, "").strip() for name in names}
    values: dict[str, Any] = {
        "filter": chosen,
        "filtered": any(chosen.values()),
        "outcomes": get_args(EventOutcome),
        "events": [],
        "cursor": None,
        "wrong": "",
        "has_reads": True,
    }
    query = {name: text for name, text in chosen.items() if text} | {"limit": _PAGE}
    if visit.query.get("cursor"):
        query["cursor"] = visit.query["cursor"]
    try:
        page = await event_listing.page(desk.api, msgspec.structs.replace(visit.call(), query=query))
        values |= {"events": page.data, "cursor": page.next_cursor}
    except ApiError as error:
        values["wrong"] = error.detail
    except Unavailable:
        values["has_reads"] = False
    return TemplatePage(template=template, values=values, status=422 if values["wrong"] else 200)
