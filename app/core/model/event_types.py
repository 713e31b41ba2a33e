"""Event types, and the patterns that subscriptions match them with.

A pattern is an exact type, `*`, or a prefix that ends in `.*`. Types are dot-joined segments of [A-Za-z0-9_-].
Types with an opt-in prefix of the profile (Bota: `device.`) match only patterns that begin with it. So do the types of
the service itself (`hookstream.`), for every profile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from app.core.model.event import Mode

_SEGMENTS = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_TYPE = re.compile(_SEGMENTS)
_PATTERN = re.compile(rf"\*|{_SEGMENTS}(?:\.\*)?")
#: longest event type, in characters
MAX_TYPE_LENGTH = 256
#: the prefix of types of the service's own events; the API accepts no event of such a type
RESERVED = "hookstream."


def is_event_type(text: str) -> bool:
    """Whether `text` is a valid event type."""
    return len(text) <= MAX_TYPE_LENGTH and _TYPE.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` is a valid pattern of an endpoint's `events`."""
    return len(text) <= MAX_TYPE_LENGTH and _PATTERN.fullmatch(text) is not None


def prefixes(event_type: str) -> list[str]:
    """The prefix patterns that match a type: `a.b.c` → `a.b.*`, `a.*`."""
    matching = []
    end = event_type.rfind(".")
    while end > 0:
        matching.append(event_type[: end + 1] + "*")
        end = event_type.rfind(".", 0, end)
    return matching


def includes(pattern: str, event_type: str, opt_in: Iterable[str] = ()) -> bool:
    """Whether a pattern matches a type; `opt_in`: the opt-in prefixes of the endpoint's profile."""
    if (
        pattern != "*"
        and pattern != event_type
        and not (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
    ):
        return False
    return all(pattern.startswith(prefix) for prefix in (*opt_in, RESERVED) if event_type.startswith(prefix))


class EventType(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A declared event type; the value of `type/<tenant>/<mode>/<name>` in registry.

    Tenant and mode are empty for a type of the installation's catalogue, which all tenants have in both modes.
    """

    name: str
    tenant: str
    mode: Mode | Literal[""]
    description: str = ""
    #: JSON Schema 2020-12 of `data`, as JSON text; None: no schema
    schema: str | None = None
    #: `data` of an example event, as JSON text
    example: str | None = None
    #: what happens to an event that does not satisfy the schema
    enforce: Literal["off", "warn", "reject"] = "off"
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1
