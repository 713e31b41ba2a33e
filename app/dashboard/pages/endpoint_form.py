"""The form of an endpoint as the body of an operation, and an endpoint as the values of the form."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from app.api.contract.fields import FieldError
from app.api.contract.webhooks import Webhook
from app.api.handlers.subscriptions import is_open, types_of
from app.api.problems import ApiError, invalid
from app.dashboard.request import PageContext, PageRequest
from app.profiles.catalog import PROFILES

#: fields whose emptiness means: the profile's, or none
_NUMBERS = ("timeout", "rate_limit", "max_in_flight")


def body(visit: PageRequest) -> dict[str, Any]:
    """What creating and changing have in common. Raises `ApiError` 422 with the field that is wrong."""
    chosen = list(visit.form.get("types", []))
    further = visit.field("more_types").replace(",", " ").split()
    values: dict[str, Any] = {
        "url": visit.field("url"),
        "events": [*chosen, *further],
        "description": visit.field("description"),
        "headers": _headers(visit.field("headers")),
        "ordering": visit.field("ordering", "none"),
        "on_exhausted": visit.field("on_exhausted", "block"),
        "schedule": _schedule(visit.field("schedule")),
    }
    if not values["events"]:
        raise invalid(FieldError(detail="choose at least one event type, or * for all", pointer="/events"))
    for name in _NUMBERS:
        values[name] = number(name, visit.field(name))
    return values


def choices(desk: PageContext, visit: PageRequest, profile: str) -> dict[str, Any]:
    """What the form offers."""
    caller = visit.caller
    return {
        "profiles": list(PROFILES),
        "profile": profile,
        "open": is_open(desk.api, caller.tenant),
        "types": types_of(desk.api, caller.tenant, caller.mode, profile),
    }


def filled(endpoint: Webhook, known: list[str]) -> dict[str, Any]:
    """The form as it shows an endpoint."""
    return {
        "url": endpoint.url,
        "types": endpoint.events,
        "description": endpoint.description,
        "more_types": " ".join(each for each in endpoint.events if each not in known and each != "*"),
        "headers": "\n".join(f"{name}: {value}" for name, value in endpoint.headers.items()),
        "schedule": ", ".join(f"{each:g}" for each in endpoint.schedule or ()),
        "timeout": endpoint.timeout,
        "rate_limit": endpoint.rate_limit or "",
        "max_in_flight": endpoint.max_in_flight or "",
        "ordering": endpoint.ordering,
        "on_exhausted": endpoint.on_exhausted,
        "version": endpoint.version,
    }


def given(visit: PageRequest) -> dict[str, Any]:
    """The form as it was sent, to be shown once more."""
    names = (
        "url",
        "description",
        "more_types",
        "headers",
        "schedule",
        "timeout",
        "rate_limit",
        "max_in_flight",
        "ordering",
        "on_exhausted",
        "version",
        "profile",
        "secret",
        "key",
    )
    return {name: visit.field(name) for name in names} | {"types": list(visit.form.get("types", []))}


def errors(error: ApiError) -> dict[str, str]:
    """Field → what is wrong with it; `form`: with all of it."""
    found: dict[str, str] = defaultdict(str)
    for each in error.errors:
        name = (each.pointer or "").strip("/").split("/")[0] or "form"
        found[name] = f"{found[name]}; {each.detail}" if name in found else each.detail
    if not found:
        found["form"] = error.detail
    return found


def _headers(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon:
            raise invalid(FieldError(detail=f"{line!r}: write Name: value", pointer="/headers"))
        found[name.strip()] = value.strip()
    return found


def _schedule(text: str) -> list[float] | None:
    if not text:
        return None
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise invalid(FieldError(detail="seconds, separated by commas: 0, 60, 300", pointer="/schedule")) from error


def number(name: str, text: str) -> float | int | None:
    """The number in a field; None: nothing is in it. Raises `ApiError` 422."""
    if not text:
        return None
    try:
        return int(text) if name == "max_in_flight" else float(text)
    except ValueError as error:
        raise invalid(FieldError(detail="a number", pointer=f"/{name}")) from error
