"""Deliveries: a list with a filter in the URL and live updates, and one delivery with all its attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from app.api.handlers import deliveries as api_deliveries
from app.api.handlers import delivery_filters, retries
from app.api.problems import ApiError
from app.core.errors import Unavailable
from app.core.model.endpoint_kind import title_of
from app.core.readmodel.rows import DeliveryFilter, DeliveryState
from app.dashboard.live_subscriptions import stream
from app.dashboard.request import EventStream, PageContext, PageRequest, PageResult, Redirect, TemplatePage

STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)
_PAGE = 50
_EVERY_S = 1.0
_WATCHED = 100


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """A page of matching deliveries, newest first; the page shows the error of an invalid filter."""
    given = {name: visit.query.get(name, "").strip() for name in delivery_filters.QUERY}
    given["endpoint"] = delivery_filters.endpoint_id_of(desk.api, visit.call(), given["endpoint"]) or ""
    values: dict[str, Any] = {
        "filter": given,
        "states": STATES,
        "rows": [],
        "cursor": None,
        "wrong": "",
        "has_reads": True,
        "names": urls(desk, visit),
        "live": not visit.query.get("cursor"),
    }
    try:
        call = msgspec.structs.replace(visit.call(), query={name: text for name, text in given.items() if text})
        which = delivery_filters.of_query(desk.api, call)
        page = await desk.api.reads.deliveries(which, limit=_PAGE, cursor=visit.query.get("cursor") or None)
        values |= {"rows": page.rows, "cursor": page.cursor}
    except ApiError as error:
        values["wrong"] = error.detail
    except ValueError:
        values["wrong"] = "The page address is not valid. Open the first page again."
    except Unavailable:
        values["has_reads"] = False
    status = 422 if values["wrong"] else 200
    return TemplatePage(
        template="delivery_rows.html" if visit.partial else "deliveries.html", values=values, status=status
    )


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One delivery with the timeline of its attempts."""
    row = await api_deliveries.owned_delivery(desk.api, visit.call())
    detail = (await api_deliveries.get(desk.api, visit.call())).body
    return TemplatePage(template="delivery.html", values={"row": row, "detail": detail, "names": urls(desk, visit)})


async def act(desk: PageContext, visit: PageRequest) -> PageResult:
    """Retry or cancel a delivery."""
    action, done = {"retry": (retries.retry, "retried"), "cancel": (retries.cancel, "cancelled")}[visit.path["action"]]
    await action(desk.api, visit.call())
    return Redirect(to=f"{visit.base}/deliveries/{visit.path['id']}?done={done}")


async def live(desk: PageContext, visit: PageRequest) -> PageResult:
    """New and changed rows of the tenant; each page shows those that match its filter."""
    read, caller = desk.api.reads, visit.caller
    seen: dict[str, int] | None = None

    async def sample() -> Sequence[tuple[str, str]]:
        nonlocal seen
        which = DeliveryFilter(tenant=caller.tenant, mode=caller.mode)
        rows = (await read.deliveries(which, limit=_WATCHED)).rows
        fresh = [] if seen is None else [each for each in rows if seen.get(each.id) != each.updated_at_ms]
        seen = {each.id: each.updated_at_ms for each in rows}
        if not fresh:
            return []
        return [("rows", desk.render("delivery_rows.html", rows=fresh[::-1], names=urls(desk, visit), cursor=None))]

    return EventStream(frames=stream(desk, visit, "deliveries", sample, every_s=_EVERY_S))


def urls(desk: PageContext, visit: PageRequest) -> Mapping[str, str]:
    """Endpoint → its URL."""
    return {
        each.id: title_of(each) for each in desk.api.feed.directory.endpoints(visit.caller.tenant, visit.caller.mode)
    }
