"""How a setting of an endpoint is shown and entered, on the command line and in the dashboard's form."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Meta

#: how a field is entered: `types` is the choice of event types, `pairs` are lines of name and value, `words` are
#: separated by commas, `auth` is a type with its fields
Widget = Literal[
    "url", "types", "text", "words", "pairs", "numbers", "number", "choice", "profile", "json", "expression", "auth"
]


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """How the command line and the dashboard's form show a field."""

    option: str
    label: str
    widget: Widget
    #: what an empty field means, or a value to follow
    example: str = ""
    #: of `pairs`: what stands between name and value on the command line
    separator: str = "="
    #: of `choice`: each value's words in the form
    choices: tuple[tuple[str, str], ...] = ()
    #: whether the form shows the field at once, and not under "More settings"
    at_once: bool = False
    #: whether customers see the field in the portal
    in_portal: bool = True

    def pair(self, name: str, value: str) -> str:
        """One entry of `pairs`, as a person writes it: `Name: value`, or `name=value`."""
        blank = " " if self.separator == ":" else ""
        return f"{name}{self.separator}{blank}{value}"


def shown(description: str, surface: Surface, **rest: Any) -> Meta:
    """The description of a field, with how it is shown."""
    return Meta(description=description, extra={"surface": surface}, **rest)
