"""Deliveries: find them by a filter that is in the address, watch them live, and see every attempt of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from app.core import moments
from app.core.errors import Unavailable
from app.ports.readmodel import DeliveryFilter, DeliveryState
from app.roles.api.problems import not_found
from app.roles.api.ui.streams import stream
from app.roles.api.ui.visit import Desk, Page, Result, Stream, Visit

STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)
_PAGE = 50
_EVERY_S = 1.0
_WATCHED = 100
FIELDS = ("endpoint", "event", "type", "state", "status", "result", "since", "until", "replay", "id")


async def list_(desk: Desk, visit: Visit) -> Result:
    """A page of those that fit, newest first; a filter that cannot be is said on the page."""
    given = {name: visit.query.get(name, "").strip() for name in FIELDS}
    values: dict[str, Any] = {
        "filter": given, "states": STATES, "rows": [], "cursor": None, "wrong": "", "has_reads": True,
        "names": urls(desk, visit),
        "live": not visit.query.get("cursor"),
    }  # fmt: skip
    try:
        which = filter_of(visit, given, desk.api.clock.now_ms())
        page = await desk.api.reads.deliveries(which, limit=_PAGE, cursor=visit.query.get("cursor") or None)
        values |= {"rows": page.rows, "cursor": page.cursor}
    except ValueError as error:
        values["wrong"] = str(error)
    except Unavailable:
        values["has_reads"] = False
    status = 422 if values["wrong"] else 200
    return Page(template="delivery_rows.html" if visit.partial else "deliveries.html", values=values, status=status)


async def show(desk: Desk, visit: Visit) -> Result:
    """One delivery with the timeline of its attempts."""
    read = desk.api.reads
    caller, id_ = visit.caller, visit.path["id"]
    row = await read.delivery(caller.tenant, caller.mode, id_)
    if row is None:
        raise not_found("delivery", id_)
    attempts = await read.attempts(caller.tenant, caller.mode, id_)
    values = {"row": row, "attempts": attempts, "names": urls(desk, visit)}
    return Page(template="delivery.html", values=values)


async def live(desk: Desk, visit: Visit) -> Result:
    """Rows of the tenant as they come and change; each page shows those that fit its filter."""
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

    return Stream(frames=stream(desk, visit, "deliveries", sample, every_s=_EVERY_S))


def filter_of(visit: Visit, given: Mapping[str, str], now_ms: int) -> DeliveryFilter:
    """The filter of an address. Raises `ValueError` with a sentence."""
    states = tuple(each for each in STATES if each in given["state"].split(","))
    if given["state"] and not states:
        raise ValueError(f"state: one of {', '.join(STATES)}")
    since = moments.moment(given["since"], now_ms) if given["since"] else None
    until = moments.moment(given["until"], now_ms) if given["until"] else None
    return DeliveryFilter(
        tenant=visit.caller.tenant, mode=visit.caller.mode, endpoint_id=given["endpoint"] or None,
        event_id=given["event"] or None, event_type=given["type"] or None, states=states,
        status=_status(given["status"]), result=given["result"] or None, replay_id=given["replay"] or None,
        any_id=given["id"] or None, since_ms=since, until_ms=until,
    )  # fmt: skip


def _status(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    if len(text) == 3 and text[0] in "12345" and text[1:].lower() == "xx":
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    if text.isascii() and text.isdigit() and len(text) == 3:
        return int(text), int(text)
    raise ValueError("status: a number such as 404, or a class such as 5xx")


def urls(desk: Desk, visit: Visit) -> Mapping[str, str]:
    """Endpoint → its URL."""
    return {each.id: each.url for each in desk.api.feed.directory.endpoints(visit.caller.tenant, visit.caller.mode)}
