"""Event types: list them, and declare, change and delete those of the tenant or, for the operator, of the installation.

The operator's pages, outside a tenant, show the installation's catalogue.
"""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from app.api.contract.events import EventTypeIn, EventTypeOut
from app.api.contract.fields import FieldError
from app.api.handlers import event_types
from app.api.problems import ApiError, invalid, not_found, refused
from app.core.errors import CommandRefused
from app.core.model.event_types import includes, is_event_type
from app.dashboard.json_fields import read_json
from app.dashboard.pages import endpoint_form
from app.dashboard.rendering import pretty
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of
from app.profiles.catalog import PROFILES

_MODES: tuple[str, ...] = get_args(get_type_hints(EventTypeIn)["mode"])
_FIELDS = ("name", "description", "mode", "schema", "example")


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """The types of the tenant and the installation, and those of one profile's catalogue."""
    profile = None
    if not visit.caller.operator:
        profile = visit.query.get("profile") or event_types.profile_of(desk.api, visit.caller.tenant)
        if profile not in PROFILES:
            raise ApiError(404, "not_found", f"there is no profile {profile}")
    shown = event_types.visible(desk.api, visit.caller, profile)
    values = {
        "types": list(shown.values()),
        "profile": profile,
        "profiles": list(PROFILES),
        "declares": _declares(visit),
    }
    return TemplatePage(template="event_types.html", values=values)


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One event type, and the endpoints that subscribe to it."""
    shown: EventTypeOut = (await event_types.get(desk.api, visit.call())).body
    caller = visit.caller
    mine = [] if caller.operator else desk.api.feed.directory.endpoints(caller.tenant, caller.mode)
    subscribed = [
        each
        for each in mine
        if any(includes(pattern, shown.name, PROFILES[each.profile].opt_in) for pattern in each.events)
    ]
    values = {"type": shown, "subscribed": subscribed, "declares": _declares(visit), "is_own": _is_own(visit, shown)}
    return TemplatePage(template="event_type.html", values=values)


async def blank(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for an event type: empty, or with the effective declaration of a name."""
    _check_declares(visit)
    form = dict.fromkeys(_FIELDS, "") | {"mode": "off"}
    name = visit.query.get("name", "")
    if not name:
        return _form(visit, form)
    shown: EventTypeOut = (await event_types.get(desk.api, visit.call(name=name))).body
    form |= {"name": shown.name, "description": shown.description, "mode": shown.mode}
    form |= {key: pretty(value) for key in ("schema", "example") if (value := getattr(shown, key)) is not None}
    return _form(visit, form)


async def put(desk: PageContext, visit: PageRequest) -> PageResult:
    """Declare the type, or replace its declaration."""
    _check_declares(visit)
    form = {name: visit.field(name) for name in _FIELDS}
    try:
        if not is_event_type(form["name"]):
            detail = "letters, digits, _ and -, in segments joined by dots, such as order.shipped"
            raise invalid(FieldError(detail=detail, pointer="/name"))
        await event_types.put(desk.api, visit.call(_body(form), name=form["name"]))
    except ApiError as error:
        return _form(visit, form, error)
    except CommandRefused as refusal:
        return _form(visit, form, refused(refusal))
    return Redirect(to=f"{visit.base}/event-types/{form['name']}?done=saved")


async def delete(desk: PageContext, visit: PageRequest) -> PageResult:
    """Delete the tenant's declaration, or the installation's."""
    _check_declares(visit)
    await event_types.delete(desk.api, visit.call())
    return Redirect(to=f"{visit.base}/event-types?done=type_deleted")


def _declares(visit: PageRequest) -> bool:
    """Whether the viewer may declare types, which customers in the portal may not."""
    return visit.caller.operator or (visit.may_write and not visit.is_portal)


def _check_declares(visit: PageRequest) -> None:
    if not _declares(visit):
        raise not_found("page", visit.here.partition("?")[0].rpartition("/")[2])


def _is_own(visit: PageRequest, shown: EventTypeOut) -> bool:
    """Whether the viewer may change and delete the declaration."""
    return shown.source == ("installation" if visit.caller.operator else "tenant")


def _body(form: dict[str, str]) -> EventTypeIn:
    values: dict[str, Any] = {"description": form["description"], "mode": form["mode"]}
    for name in ("schema", "example"):
        if form[name]:
            values[name] = read_json(name, form[name], name)
    return body_of(EventTypeIn, values)


def _form(visit: PageRequest, form: dict[str, str], error: ApiError | None = None) -> TemplatePage:
    values: dict[str, Any] = {"form": form, "modes": _MODES}
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(
        template="event_type_form.html", values=values, status=error.status if error is not None else 200
    )
