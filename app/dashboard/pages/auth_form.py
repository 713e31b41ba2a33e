"""The setting `auth` in the form of an endpoint: a type, and the inputs of each type. Secrets never go back to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import msgspec

from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.core.model.receiver_auth import MASK, SECRET_FIELDS, MutualTls, ReceiverAuth
from app.dashboard.request import PageRequest


class AuthInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a type."""

    #: such as `auth.basic.username`
    name: str
    label: str
    secret: bool
    required: bool
    #: of several lines
    area: bool
    choices: Sequence[str]


def _inputs_of(kind: type[msgspec.Struct]) -> list[tuple[msgspec.structs.FieldInfo, AuthInput]]:
    return [
        (
            field,
            AuthInput(
                name=f"auth.{kind.__struct_config__.tag}.{field.name}",
                label=field.name.replace("_", " ").capitalize(),
                secret=SECRET_FIELDS.get(kind) == field.name,
                required=field.required,
                area=kind is MutualTls,
                choices=get_args(field.type) if get_origin(field.type) is Literal else (),
            ),
        )
        for field in msgspec.structs.fields(kind)
    ]


_KINDS = {str(kind.__struct_config__.tag): _inputs_of(kind) for kind in get_args(ReceiverAuth)}

#: type → its inputs, for the template
INPUTS = {tag: [each for _, each in inputs] for tag, inputs in _KINDS.items()}


def value(visit: PageRequest) -> dict[str, str] | None:
    """The submitted setting in the form of the API. Raises `ApiError` 422 for an unknown type and missing values."""
    tag = visit.field("auth") or "none"
    if tag not in _KINDS:
        raise invalid(FieldError(detail=f"one of {', '.join(_KINDS)}", pointer="/auth"))
    if tag == "none":
        return None
    entered = {field.name: visit.field(each.name) for field, each in _KINDS[tag]}
    missing = [each for field, each in _KINDS[tag] if field.required and not entered[field.name]]
    if missing:
        raise invalid(*(FieldError(detail=f"{each.label} is required", pointer="/auth") for each in missing))
    return {"type": tag} | {name: text for name, text in entered.items() if text}


def filled(auth: ReceiverAuth | None) -> dict[str, str]:
    """The values of the inputs for an endpoint's own setting."""
    values: dict[str, Any] = msgspec.to_builtins(auth) if auth is not None else {"type": "none"}
    tag = values.pop("type")
    blank = {each.name: "" for kind in INPUTS.values() for each in kind}
    return (
        {"auth": tag} | blank | {f"auth.{tag}.{name}": str(text) for name, text in values.items() if text is not None}
    )


def sent(visit: PageRequest) -> dict[str, str]:
    """The submitted values, to be shown again, without secrets."""
    inputs = [each for kind in INPUTS.values() for each in kind]
    shown = {each.name: visit.field(each.name) for each in inputs}
    hidden = {each.name: "" for each in inputs if each.secret and shown[each.name] != MASK}
    return {"auth": visit.field("auth"), **shown, **hidden}
