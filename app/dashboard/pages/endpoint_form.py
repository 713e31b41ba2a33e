"""The form of an endpoint as the body of an operation, and an endpoint as the values of the form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from app.api.contract.fields import FieldError
from app.api.handlers.shape_settings import SHAPE_SETTINGS
from app.api.handlers.subscriptions import is_open, types_of
from app.api.problems import ApiError, invalid
from app.core.model.endpoint_settings import (
    FIELDS,
    NAMES,
    EndpointSettings,
    can_be_null,
    is_whole,
    meta_of,
    surface_of,
)
from app.core.model.receiver_auth import MASK
from app.core.model.sensitive_headers import is_sensitive, masked
from app.core.model.setting_surface import Widget
from app.dashboard.pages import auth_form
from app.dashboard.request import PageContext, PageRequest
from app.profiles.catalog import PROFILES

#: fields whose errors name a place inside of their value
_JSON_FIELDS = frozenset(field.name for field in FIELDS if surface_of(field).widget in ("json", "auth"))


class FormField(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as the form shows it."""

    name: str
    label: str
    help: str
    widget: Widget
    example: str
    choices: Sequence[tuple[str, str]]
    max_length: int | None
    required: bool
    at_once: bool


def fields(visit: PageRequest) -> list[FormField]:
    """The fields of the form. Customers in the portal do not choose profiles: the product has one."""
    return [_shown(field) for field in FIELDS if _is_offered(field, visit)]


def body(visit: PageRequest) -> dict[str, Any]:
    """The settings of a submitted form. Raises `ApiError` 422 with every invalid field."""
    values: dict[str, Any] = {}
    problems: list[FieldError] = []
    for field in FIELDS:
        if _is_offered(field, visit) and (field.name in visit.form or surface_of(field).widget == "types"):
            try:
                values[field.name] = _value(field, visit)
            except ApiError as error:
                problems.extend(error.errors)
    if problems:
        raise invalid(*problems)
    return values


def tried(visit: PageRequest) -> dict[str, Any]:
    """The settings of a submitted form that a preview may replace. Raises `ApiError` 422."""
    named = [field for field in FIELDS if field.name in SHAPE_SETTINGS and field.name in visit.form]
    return {field.name: _value(field, visit) for field in named}


def choices(desk: PageContext, visit: PageRequest, profile: str) -> dict[str, Any]:
    """The choices of the form."""
    caller = visit.caller
    return {
        "profiles": list(PROFILES),
        "profile": profile,
        "fields": fields(visit),
        "auth_inputs": auth_form.INPUTS,
        "open": is_open(desk.api, caller.tenant),
        "source_addresses": desk.api.egress_ips,
        "types": types_of(desk.api, caller.tenant, caller.mode, profile),
    }


def filled(settings: EndpointSettings, version: int, offered: Collection[str]) -> dict[str, Any]:
    """The values of the form for an endpoint's own settings: empty where it has the default."""
    further = (each for each in settings.events if each not in offered and each != "*")
    shown = msgspec.structs.replace(settings, headers=masked(settings.headers, settings.sensitive_headers or ()))
    values: dict[str, Any] = {field.name: _text(field, getattr(shown, field.name)) for field in FIELDS}
    values |= auth_form.filled(settings.auth)
    return values | {"types": settings.events, "more_types": " ".join(further), "version": version}


def sent(visit: PageRequest) -> dict[str, Any]:
    """The submitted values of the form, to be shown again: all but secrets."""
    names = [*NAMES, "more_types", "version", "profile", "key"]
    values: dict[str, Any] = {name: visit.field(name) for name in names}
    marked = _names(values["sensitive_headers"])
    values |= auth_form.sent(visit) | {"headers": _without_secrets(values["headers"], marked)}
    return values | {"types": list(visit.form.get("types", [])), "secret": ""}


def _without_secrets(headers: str, marked: Collection[str]) -> str:
    """The lines of custom headers, without the values of sensitive ones, and of lines that cannot be read."""
    lines = []
    for line in filter(None, (line.strip() for line in headers.splitlines())):
        name, colon, value = line.partition(":")
        name = name.strip() if colon else line.split(maxsplit=1)[0]
        shown = "" if not colon or (is_sensitive(name, marked) and value.strip() != MASK) else value.strip()
        lines.append(f"{name}: {shown}")
    return "\n".join(lines)


def errors(error: ApiError) -> dict[str, str]:
    """Field → its error; `form`: errors of the form as a whole."""
    by_field: dict[str, str] = defaultdict(str)
    for each in error.errors:
        name, _, place = (each.pointer or "").strip("/").partition("/")
        name = name or "form"
        detail = f"{place}: {each.detail}" if place and name in _JSON_FIELDS else each.detail
        by_field[name] = f"{by_field[name]}; {detail}" if name in by_field else detail
    if not by_field:
        by_field["form"] = error.detail
    return by_field


def _is_offered(field: msgspec.structs.FieldInfo, visit: PageRequest) -> bool:
    return not visit.is_portal or (surface_of(field).in_portal and surface_of(field).widget != "profile")


def _shown(field: msgspec.structs.FieldInfo) -> FormField:
    surface, meta = surface_of(field), meta_of(field)
    return FormField(
        name=field.name,
        label=surface.label,
        help=(meta.description or "").replace("null:", "empty:"),
        widget=surface.widget,
        example=surface.example,
        choices=surface.choices,
        max_length=meta.max_length if surface.widget in ("url", "text") else None,
        required=field.required and field.name != "url",  # a pull endpoint has none
        at_once=surface.at_once,
    )


def _value(field: msgspec.structs.FieldInfo, visit: PageRequest) -> Any:
    text = visit.field(field.name)
    match surface_of(field).widget:
        case "types":
            return _types(visit)
        case "pairs":
            values = pairs(field.name, text, surface_of(field).separator)
            if field.name == "headers":
                _require_values(values, _names(visit.field("sensitive_headers")))
            return values
        case "numbers":
            return _numbers(field.name, text)
        case "words":
            return _names(text) or None
        case "number":
            return number(field.name, text, whole=is_whole(field))
        case "profile" | "expression":
            return text or None
        case "json":
            return _json(field.name, text)
        case "text" if can_be_null(field):
            return text or None
        case "auth":
            return auth_form.value(visit)
        case "choice" | "text" | "url":
            return text


def _text(field: msgspec.structs.FieldInfo, value: Any) -> str:
    if value is None:
        return ""
    match surface_of(field).widget:
        case "pairs":
            return "\n".join(surface_of(field).pair(name, text) for name, text in value.items())
        case "numbers":
            return ", ".join(f"{each:.12g}" for each in value)
        case "words":
            return ", ".join(value)
        case "number":
            return f"{value:.12g}"
        case "json":
            return str(msgspec.json.format(msgspec.json.encode(value)), "utf-8")
        case _:
            return str(value)


def _types(visit: PageRequest) -> list[str]:
    types = [*visit.form.get("types", []), *visit.field("more_types").replace(",", " ").split()]
    if not types:
        raise invalid(FieldError(detail="choose at least one event type, or * for all", pointer="/events"))
    return types


def pairs(field: str, text: str, separator: str) -> dict[str, str]:
    """The lines of a field, each a name and a value. Raises `ApiError` 422."""
    by_name: dict[str, str] = {}
    for number, line in enumerate(filter(None, (line.strip() for line in text.splitlines())), 1):
        name, sign, value = line.partition(separator)
        if not sign:  # the line is not quoted: it may hold a secret
            wanted = "Name: value" if separator == ":" else f"name{separator}value"
            raise invalid(FieldError(detail=f"entry {number}: write {wanted}", pointer=f"/{field}"))
        by_name[name.strip()] = value.strip()
    return by_name


def _require_values(headers: Mapping[str, str], marked: Collection[str]) -> None:
    """Raise `ApiError` 422 for sensitive headers without a value: a form that was refused does not repeat it."""
    missing = [name for name, value in headers.items() if is_sensitive(name, marked) and not value]
    if missing:
        raise invalid(*(FieldError(detail=f"enter the value of {name}", pointer="/headers") for name in missing))


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _numbers(field: str, text: str) -> list[float] | None:
    if not text:
        return None
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise invalid(FieldError(detail="seconds, separated by commas: 0, 60, 300", pointer=f"/{field}")) from error


def _json(field: str, text: str) -> Any:
    """The decoded value of a field; None: it is empty."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise invalid(FieldError(detail=f"is not JSON: {error}", pointer=f"/{field}")) from error


def number(name: str, text: str, *, whole: bool = False) -> float | int | None:
    """The number in a field; None: nothing is in it. Raises `ApiError` 422."""
    if not text:
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        detail = "a whole number" if whole else "a number"
        raise invalid(FieldError(detail=detail, pointer=f"/{name}")) from error
