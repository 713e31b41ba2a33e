"""Endpoints: list, create and show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.api.contract.pulls import PullPosition
from app.api.contract.webhooks import Webhook, WebhookIn
from app.api.handlers import pulls, webhooks
from app.api.handlers.subscriptions import types_of
from app.api.problems import ApiError, refused
from app.core.errors import CommandRefused, Unavailable
from app.core.model.endpoint import Endpoint, last_disablement
from app.core.model.event_types import includes
from app.core.model.receiver_auth import EXPIRES_NOW_MS, EXPIRES_SOON_MS
from app.core.readmodel.rows import DeliveryFilter, LastFailure
from app.dashboard import hourly_charts
from app.dashboard.pages import endpoint_form
from app.dashboard.pages.type_picker import recent_types
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of
from app.profiles.catalog import PROFILES

_PAGE = 50


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """The endpoints that match the search, oldest first."""
    wanted, status = visit.query.get("q", "").strip(), visit.query.get("status", "")
    mine = desk.api.feed.directory.endpoints(visit.caller.tenant, visit.caller.mode)
    matching = sorted(
        (each for each in mine if _fits(each, wanted.lower(), status)), key=lambda each: each.created_at_ms
    )
    page = _page_number(visit)
    shown = matching[(page - 1) * _PAGE : page * _PAGE]
    values = {
        "days": await hourly_charts.of_endpoints(desk, visit, [each.id for each in shown]),
        "failures": await _failures(desk, shown),
        "endpoints": [webhooks.present_endpoint(desk.api, each) for each in shown],
        "q": wanted,
        "status": status,
        "page": page,
        "total": len(matching),
        "pages": -(-len(matching) // _PAGE),
        "any": bool(mine),
    }
    template = "endpoint_rows.html" if visit.partial else "endpoints.html"
    return TemplatePage(template=template, values=values)


async def blank(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for a new one."""
    tenant = desk.api.feed.directory.tenants.get(visit.caller.tenant)
    chosen = "" if visit.is_portal else visit.query.get("profile", "")
    profile = chosen or (tenant.profile if tenant else "standard")
    form = defaultdict(str, {"types": [], "profile": profile, "key": desk.api.minter.id("form")})
    return TemplatePage(template="endpoint_new.html", values=_form(desk, visit, form))


async def create(desk: PageContext, visit: PageRequest) -> PageResult:
    """Register an endpoint. The next page shows its secret once."""
    try:
        values = endpoint_form.body(visit)
        if visit.field("profile") and not visit.is_portal:
            values["profile"] = visit.field("profile")
        if visit.field("secret"):
            values["secret"] = visit.field("secret")
        answer = await webhooks.create(desk.api, visit.call(body_of(WebhookIn, values), key=visit.field("key")))
    except ApiError as error:
        return _again(desk, visit, error)
    except CommandRefused as refusal:
        return _again(desk, visit, refused(refusal))
    endpoint: Webhook = answer.body
    return await page_of(desk, visit, endpoint, fresh="created")


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One endpoint; an address with its uid leads to the one with its id."""
    endpoint: Webhook = (await webhooks.get(desk.api, visit.call())).body
    if visit.path["id"] != endpoint.id:
        _, mark, query = visit.here.partition("?")
        return Redirect(to=f"{visit.base}/endpoints/{endpoint.id}{mark}{query}")
    return await page_of(desk, visit, endpoint)


async def page_of(
    desk: PageContext, visit: PageRequest, endpoint: Webhook, *, fresh: str = "", error: ApiError | None = None
) -> PageResult:
    """An endpoint's page; `fresh` says why its secret is on it, `error` the error of the settings form."""
    choices = endpoint_form.choices(desk, visit, endpoint.profile)
    stored = desk.api.feed.directory.endpoint(endpoint.id)
    if error is not None:
        form = endpoint_form.sent(visit)
    else:
        form = endpoint_form.filled(stored or endpoint, endpoint.version, choices["types"])
    values: dict[str, Any] = choices | {
        "endpoint": endpoint,
        "fresh": fresh,
        "form": form,
        "certificate": _certificate(desk, stored),
        "hold": last_disablement(stored) if stored else None,
        "secret": endpoint.secret if endpoint.secret is not msgspec.UNSET else None,
        "pull": None,
        "recent": None,
        "day": None,
        "errors": endpoint_form.errors(error) if error is not None else defaultdict(str),
        "test_types": test_types(desk, endpoint, await recent_types(desk, visit)),
    }
    if stored is not None and stored.kind == "pull":
        values["pull"] = await _position(desk, stored)
    values["day"] = await hourly_charts.of_day(desk, visit, endpoint.id)
    if values["day"] is not None:
        which = DeliveryFilter(tenant=visit.caller.tenant, mode=visit.caller.mode, endpoint_id=endpoint.id)
        values["recent"] = (await desk.api.reads.deliveries(which, limit=10)).rows
    return TemplatePage(template="endpoint.html", values=values, status=error.status if error is not None else 200)


async def _position(desk: PageContext, endpoint: Endpoint) -> PullPosition | None:
    """How far the receiver of a pull endpoint has committed; None where Kafka does not answer."""
    try:
        return await pulls.commit_position(desk.api, endpoint)
    except Unavailable:
        return None


def test_types(desk: PageContext, endpoint: Webhook, recent: Sequence[str]) -> list[str]:
    """The event types of a test: subscribed types first, and recent ones first among them."""
    stored = desk.api.feed.directory.endpoint(endpoint.id)
    if stored is None:
        return []
    exact = [each for each in endpoint.events if "*" not in each]
    opt_in = PROFILES[stored.profile].opt_in
    in_order = dict.fromkeys([*recent, *sorted({*exact, *_types(desk, stored)})])
    return sorted(in_order, key=lambda type_: not any(includes(pattern, type_, opt_in) for pattern in endpoint.events))


def _certificate(desk: PageContext, endpoint: Endpoint | None) -> str | None:
    """How urgently the endpoint needs a new client certificate, as the class of a chip; None: it has none."""
    if endpoint is None or endpoint.auth_expires_at_ms is None:
        return None
    left_ms = endpoint.auth_expires_at_ms - desk.api.clock.now_ms()
    return "bad" if left_ms <= EXPIRES_NOW_MS else "warn" if left_ms <= EXPIRES_SOON_MS else "good"


def _types(desk: PageContext, endpoint: Endpoint) -> list[str]:
    return types_of(desk.api, endpoint.tenant, endpoint.mode, endpoint.profile)


async def _failures(desk: PageContext, endpoints: Sequence[Endpoint]) -> Mapping[str, LastFailure]:
    """Endpoint id → its last failure; empty where the read model is not available."""
    try:
        return await desk.api.reads.last_failures([(each.tenant, each.mode, each.id) for each in endpoints])
    except Unavailable:
        return {}


def _fits(endpoint: Endpoint, wanted: str, status: str) -> bool:
    if status and endpoint.shown_status != status:
        return False
    return not wanted or any(
        wanted in text.lower()
        for text in (endpoint.url, endpoint.id, endpoint.uid or "", endpoint.description, *endpoint.events)
    )


def _page_number(visit: PageRequest) -> int:
    text = visit.query.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _form(desk: PageContext, visit: PageRequest, form: dict[str, Any]) -> dict[str, Any]:
    return endpoint_form.choices(desk, visit, form.get("profile") or "standard") | {"form": form}


def _again(desk: PageContext, visit: PageRequest, error: ApiError) -> PageResult:
    values = _form(desk, visit, endpoint_form.sent(visit)) | {"errors": endpoint_form.errors(error)}
    return TemplatePage(template="endpoint_new.html", values=values, status=error.status)
