"""The problems of a refused request, with the options of the command in place of the fields of the request."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from app.core.errors import CommandRefused

#: fields of requests whose options have another name
_OTHER_NAMES = {"active": "status", "unsigned": "no_secret", "id": "tenant_id"}
_options: ContextVar[Mapping[str, str]] = ContextVar("_options")


def names_of(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """What one types for each parameter of a command, by parameter, and by option without its dashes."""
    names: dict[str, str] = {}
    for each in parameters:
        for info in getattr(each.annotation, "__metadata__", ()):
            if isinstance(info, OptionInfo | ArgumentInfo):
                names[each.name] = _shown(each.name, info)
    return {name.removeprefix("--").replace("-", "_"): name for name in names.values()} | names


def use_names(options: Mapping[str, str]) -> None:
    """Take these names for the command that begins."""
    _options.set(options)


def sentence_of(error: CommandRefused) -> str:
    """Why a request was refused, with a line for each option when there are several."""
    named = [(_named(pointer), _without_field(pointer, detail)) for pointer, detail in _problems(error)]
    if not any(name for name, _ in named):
        return error.detail
    lines = [f"{name}: {detail}" if name else detail for name, detail in named]
    return lines[0] if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)]).rstrip()


def _problems(error: CommandRefused) -> list[tuple[str, str]]:
    if error.problems or error.code != "invalid":
        return list(error.problems)
    from app.api.problems import refused  # the registry's own sentence, which the API would take apart

    return [(each.pointer or "", each.detail) for each in refused(error).errors]


def _named(pointer: str) -> str | None:
    """The option of a field, and the place in its value; None where the command has none."""
    field, *rest = pointer.removeprefix("/").split("/")
    options = _options.get({})
    for name in (field, _OTHER_NAMES.get(field, field), field.removesuffix("s")):
        if name in options:
            return " ".join([options[name], *(_place(each) for each in rest)]).replace(" ,", ",")
    return None


def _place(part: str) -> str:
    return (
        f", value {int(part) + 1}" if part.isascii() and part.isdigit() else part.replace("~1", "/").replace("~0", "~")
    )


def _without_field(pointer: str, detail: str) -> str:
    """The sentence; the registry's begin with the field."""
    return detail.removeprefix(pointer.removeprefix("/").partition("/")[0] + ":").strip()


def _shown(name: str, info: Any) -> str:
    if isinstance(info, ArgumentInfo):
        return name.upper().replace("_", "-")
    texts = [info.default, *(info.param_decls or ())]  # in Annotated, the first name is where a default would be
    declared = [word for text in map(str, texts) for word in text.split("/") if word.startswith("--")]
    return declared[0] if declared else "--" + name.replace("_", "-")
