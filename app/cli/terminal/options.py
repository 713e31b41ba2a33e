"""Options that a decorator adds to a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def parameters_of(annotations: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Return a parameter for each option, with the default None."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in annotations.items()
    ]


def show_parameters(wrapped: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    """Give `wrapper` a signature for typer, in place of that of the wrapped function."""
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    wrapped.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in named} | {"return": None}
