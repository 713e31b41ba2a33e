"""The operator's overview: traffic of all tenants, endpoints that fail, and a search over all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from app.api.contract.webhooks import Webhook
from app.api.handlers import webhooks
from app.api.handlers.delivery_filters import is_name
from app.core.errors import Unavailable
from app.core.model.endpoint import Endpoint
from app.core.readmodel.rows import EventFilter, EventRow, LastFailure
from app.dashboard import hourly_charts
from app.dashboard.live_subscriptions import viewer_of
from app.dashboard.request import EventStream, PageContext, PageRequest, PageResult, TemplatePage

_EVERY_S = 10.0
#: rows of each table
_FAILING = 50
#: hours, the current one included, in which an endpoint without a success is listed, too
_RECENT_HOURS = 2
_BUSIEST = 20
_HITS = 20
#: events are counted up to here
MAX_EVENTS = 1_000_000
#: endpoints that are compared at once, before others have their turn
_COMPARED = 5_000


class FailingEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that fails or does not answer."""

    endpoint: Webhook
    tenant: str
    #: where its pages are
    base: str
    #: since when it is failing, or the first hour of those in which all its attempts failed
    since_ms: int
    #: the number of these attempts; 0: it is marked as failing, or its circuit is open
    failed_attempts: int = 0
    #: None: unknown
    last: LastFailure | None


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """The page with the current state; a stream keeps it up to date."""
    return TemplatePage(template="all_tenants.html", values={"q": "", **await _values(desk)})


async def live(desk: PageContext, visit: PageRequest) -> PageResult:
    """Numbers and tables, whenever they change."""
    last = ""

    async def sample() -> Sequence[tuple[str, str]]:
        nonlocal last
        text = desk.render("all_tenants_tables.html", **await _values(desk))
        fresh, last = text != last, text
        return [("tables", text)] if fresh else []

    frames = desk.hub.subscribe(
        ("all-tenants",), sample, every_s=_EVERY_S, viewer=viewer_of(desk, visit), last_id=visit.last_event_id
    )
    return EventStream(frames=frames)


async def search(desk: PageContext, visit: PageRequest) -> PageResult:
    """Tenants, endpoints, events and deliveries with that id, name or URL."""
    wanted = visit.query.get("q", "").strip()
    values: dict[str, Any] = {
        "q": wanted,
        "wrong": "",
        "has_reads": True,
        "tenants": [],
        "endpoints": [],
        "events": [],
        "delivery": None,
        "most": _HITS,
    }
    if wanted and not is_name(wanted):
        values["wrong"] = "Search for 1 to 256 printable characters."
    elif wanted:
        values |= {"tenants": _tenants(desk, wanted.lower()), "endpoints": await _endpoints(desk, wanted)}
        try:
            values["events"] = await _events(desk, wanted)
            values["delivery"] = await desk.api.reads.delivery_of_any_tenant(wanted)
        except Unavailable:
            values["has_reads"] = False
    return TemplatePage(template="search.html", values=values, status=422 if values["wrong"] else 200)


async def _values(desk: PageContext) -> dict[str, Any]:
    directory, reads = desk.api.feed.directory, desk.api.reads
    begin_ms, end_ms = hourly_charts.span(desk, 24)
    values: dict[str, Any] = {
        "census": directory.census(),
        "failing": await _failing(desk),
        "failing_number": len(directory.failing()),
        "most_failing": _FAILING,
        "traffic": None,
        "most_events": MAX_EVENTS,
        "names": {each.id: each.name for each in directory.tenants.values() if each.name},
    }
    rejected = EventFilter(since_ms=begin_ms, result="rejected")
    try:
        return values | {
            "traffic": await reads.traffic(since_ms=begin_ms, until_ms=end_ms, busiest=_BUSIEST),
            "events": await reads.count_events(EventFilter(since_ms=begin_ms), at_most=MAX_EVENTS + 1),
            "rejected": await reads.count_events(rejected, at_most=MAX_EVENTS + 1),
        }
    except Unavailable:
        return values


async def _failing(desk: PageContext) -> list[FailingEndpoint]:
    """Endpoints marked as failing, the latest first, then those without a recent success."""
    directory, reads = desk.api.feed.directory, desk.api.reads
    marked = sorted(directory.failing(), key=lambda each: (-_since(each), each.id))
    since = {each.id: _since(each) for each in marked}
    shown = marked[:_FAILING]
    since_ms, _ = hourly_charts.span(desk, _RECENT_HOURS)
    counts: dict[str, int] = {}
    last: Mapping[str, LastFailure] = {}
    try:
        for each in await reads.without_success(since_ms=since_ms, limit=_FAILING):
            endpoint = directory.endpoint(each.endpoint_id)
            if endpoint is not None and endpoint.id not in since:
                counts[endpoint.id] = each.attempts
                shown.append(endpoint)
        last = await reads.last_failures([(each.tenant, each.mode, each.id) for each in shown])
    except Unavailable:
        pass  # the page says that traffic and last failures are missing
    return [
        FailingEndpoint(
            endpoint=webhooks.present_endpoint(desk.api, each),
            tenant=each.tenant,
            base=f"/ui/t/{quote(each.tenant, safe='')}/{each.mode}",
            since_ms=since.get(each.id) or max(since_ms, each.created_at_ms),
            failed_attempts=counts.get(each.id, 0),
            last=last.get(each.id),
        )
        for each in shown
    ]


def _since(endpoint: Endpoint) -> int:
    """Since when an endpoint fails or its circuit is open."""
    if endpoint.failing_since_ms is not None:
        return endpoint.failing_since_ms
    return endpoint.circuit.since_ms if endpoint.circuit is not None else endpoint.updated_at_ms


def _tenants(desk: PageContext, wanted: str) -> list[str]:
    directory = desk.api.feed.directory
    ids = {*directory.tenants, *(tenant for tenant, _ in directory.scopes())}
    names = {id_: directory.tenants[id_].name if id_ in directory.tenants else "" for id_ in ids}
    hits = [id_ for id_, name in names.items() if wanted in id_.lower() or wanted in name.lower()]
    return sorted(hits, key=lambda id_: (id_.lower() != wanted, id_))[: _HITS + 1]


async def _endpoints(desk: PageContext, wanted: str) -> list[Endpoint]:
    """Endpoints with that id, or else those with that uid or whose URL contains it."""
    directory = desk.api.feed.directory
    one = directory.endpoint(wanted)
    if one is not None:
        return [one]
    lowered, hits, compared = wanted.lower(), list[Endpoint](), 0
    for scope in directory.scopes():
        some = directory.endpoints(*scope)
        hits += [each for each in some if each.uid == wanted or lowered in each.url.lower()]
        if len(hits) > _HITS:
            break
        compared += len(some)
        if compared >= _COMPARED:
            compared = 0
            await asyncio.sleep(0)
    return hits[: _HITS + 1]


async def _events(desk: PageContext, wanted: str) -> Sequence[EventRow]:
    return (await desk.api.reads.events(EventFilter(event_id=wanted), limit=_HITS)).rows
