"""The options of `endpoints add` and `update`, from the declaration of an endpoint's settings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import msgspec
import typer

from app.cli.connect import completion
from app.cli.terminal.inputs import json_of, list_of, pairs_of, seconds_of
from app.cli.terminal.options import parameters_of, show_parameters
from app.core.model.endpoint_settings import FIELDS, can_be_null, is_whole, meta_of, surface_of

#: fields that `--clear` restores to their default, as the command line writes them
CLEARABLE = tuple(field.name.replace("_", "-") for field in FIELDS if can_be_null(field))


def takes_settings(*, leave_out: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for each setting to a command, which gets the named ones as `settings`, by field."""
    fields = [field for field in FIELDS if field.name not in leave_out]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapped(**values: Any) -> None:
            settings = {field.name: _value(field, values.pop(field.name)) for field in fields}
            command(settings={name: value for name, value in settings.items() if value is not None}, **values)

        parameters = inspect.signature(command, eval_str=True).parameters.values()
        own = [each for each in parameters if each.name != "settings"]
        show_parameters(wrapped, [*own, *parameters_of({field.name: _annotation(field) for field in fields})])
        return wrapped

    return decorate


def cleared(names: list[str]) -> dict[str, None]:
    """The fields that `--clear` names, each as null."""
    for name in names:
        if name.replace("_", "-") not in CLEARABLE:
            raise typer.BadParameter(f"--clear {name}: one of {', '.join(CLEARABLE)}")
    return dict.fromkeys(name.replace("-", "_") for name in names)


def _annotation(field: msgspec.structs.FieldInfo) -> Any:
    surface = surface_of(field)
    complete: Any = {
        "types": completion.event_patterns,
        "profile": completion.wire_formats,
        "choice": [value for value, _ in surface.choices].copy,
    }.get(surface.widget)
    option = typer.Option(surface.option, help=_help(field), autocompletion=complete)
    match surface.widget:
        case "pairs":
            return Annotated[list[str] | None, option]
        case "number":
            return Annotated[(int if is_whole(field) else float) | None, option]
        case _:
            return Annotated[str | None, option]


def _help(field: msgspec.structs.FieldInfo) -> str:
    surface = surface_of(field)
    sentence = re.sub(r"; null: (.+)\.$", r" (default: \1).", meta_of(field).description or "")
    match surface.widget:
        case "types" | "words":
            return f"{sentence} Comma-separated."
        case "expression":
            return f"{sentence} For example {surface.example}."
        case "pairs":
            return f"{sentence} {surface.pair('name', 'value')}. Repeatable."
        case "numbers":
            return f"{sentence} For example {surface.example}."
        case "json":
            return f"{sentence} JSON, or @FILE. For example {surface.example}."
        case "auth":
            return f"{sentence} JSON, @FILE, or @- for stdin: arguments are visible in process lists."
        case _:
            return sentence


def _value(field: msgspec.structs.FieldInfo, text: Any) -> Any:
    """The value of an option in the form of the API; None if it was not given."""
    surface = surface_of(field)
    if text is None or (surface.widget == "pairs" and not text):
        return None
    match surface.widget:
        case "types" | "words":
            return list_of(text)
        case "pairs":
            return pairs_of(surface.option.removeprefix("--"), text, surface.separator)
        case "numbers":
            return seconds_of(text)
        case "json" | "auth":
            return msgspec.json.decode(json_of(surface.option, text))
        case _:
            return text
