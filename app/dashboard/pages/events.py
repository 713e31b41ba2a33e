"""Event types with their schemas and examples, and a form that appends an event."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.events import EventIn
from app.api.contract.fields import FieldError
from app.api.handlers import audit, event_types, events
from app.api.problems import ApiError, invalid
from app.core.model.event_types import includes
from app.dashboard.pages import endpoint_form
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of
from app.profiles.catalog import PROFILES


async def types(desk: PageContext, visit: PageRequest) -> PageResult:
    """The tenant's own types and those of one profile's catalogue."""
    profile = visit.query.get("profile") or _profile(desk, visit)
    if profile not in PROFILES:
        raise ApiError(404, "not_found", f"there is no profile {profile}")
    found = _all(desk, visit, profile)
    values = {"types": [found[name] for name in sorted(found)], "profile": profile, "profiles": list(PROFILES)}
    return TemplatePage(template="event_types.html", values=values)


async def type_(desk: PageContext, visit: PageRequest) -> PageResult:
    """One type, and who subscribes to it."""
    shown = (await event_types.get(desk.api, visit.call())).body
    mine = desk.api.feed.directory.endpoints(visit.caller.tenant, visit.caller.mode)
    subscribed = [
        each
        for each in mine
        if any(includes(pattern, shown.name, PROFILES[each.profile].opt_in) for pattern in each.events)
    ]
    return TemplatePage(template="event_type.html", values={"type": shown, "subscribed": subscribed})


async def blank(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for an event, with an example where the type has one."""
    wanted = visit.query.get("type", "")
    entry = desk.api.catalogue.get(_profile(desk, visit), {}).get(wanted)
    text = msgspec.json.format(entry.examples[0], indent=2).decode() if entry is not None else "{}"
    return _form(desk, visit, {"type": wanted, "data": text, "ordering_key": "", "key": desk.api.minter.id("form")})


async def append(desk: PageContext, visit: PageRequest) -> PageResult:
    """Append it, as the API does."""
    form = {name: visit.field(name) for name in ("type", "data", "ordering_key", "key")}
    try:
        try:
            data = msgspec.json.decode(form["data"], type=msgspec.Raw)
            msgspec.json.decode(form["data"])
        except ValueError as error:
            raise invalid(FieldError(detail=f"the payload is not JSON: {error}", pointer="/data")) from error
        body = body_of(EventIn, {"type": form["type"], "data": data, "ordering_key": form["ordering_key"] or None})
        if not visit.caller.actor:  # events.create takes a key for a service: here a person has it
            await audit.record(desk.api, visit.caller, "event.send", f"event/{form['type']}")
        answer = await events.create(desk.api, visit.call(body, key=form["key"]))
    except ApiError as error:
        return _form(desk, visit, form, error)
    return Redirect(to=f"{visit.base}/deliveries?event={answer.body.id}&done=sent")


def _form(desk: PageContext, visit: PageRequest, form: dict[str, str], error: ApiError | None = None) -> TemplatePage:
    values: dict[str, Any] = {"form": form, "types": sorted(_all(desk, visit, _profile(desk, visit)))}
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(template="event_new.html", values=values, status=error.status if error is not None else 200)


def _profile(desk: PageContext, visit: PageRequest) -> str:
    tenant = desk.api.feed.directory.tenants.get(visit.caller.tenant)
    return tenant.profile if tenant is not None else "standard"


def _all(desk: PageContext, visit: PageRequest, profile: str) -> dict[str, Any]:
    mine = (visit.caller.tenant, visit.caller.mode)
    found: dict[str, Any] = {
        name: event_types.catalogued(entry) for name, entry in desk.api.catalogue.get(profile, {}).items()
    }
    own = desk.api.feed.directory.event_types.items()
    return found | {name: event_types.own(each) for (whose, mode, name), each in own if (whose, mode) == mine}
