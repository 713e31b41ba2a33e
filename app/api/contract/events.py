"""Bodies of /v1/events and /v1/event-types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.api.contract.fields import Description, Input, Key, TypeName
from app.core import limits


class EventIn(Input, frozen=True, kw_only=True):
    """An event."""

    type: TypeName
    data: msgspec.Raw
    id: Annotated[str, Meta(max_length=limits.EVENT_ID)] | None = None
    #: ISO 8601 with date, time and zone
    created_at: Annotated[str, Meta(max_length=limits.TIME)] | None = None
    idempotency_key: Key | None = None
    ordering_key: Key | None = None
    metadata: dict[str, Any] | None = None


class EventAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The event was appended to `events.raw`."""

    id: str


class EventsAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The events were appended to `events.raw`, in this order."""

    data: list[EventAccepted]


class EventTypeIn(Input, frozen=True, kw_only=True):
    """A custom event type."""

    description: Description = ""
    #: JSON Schema 2020-12 of `data`
    schema: dict[str, Any] | None = None
    #: off: not looked at; warn: counted and delivered; reject: put into events.rejected
    mode: Literal["off", "warn", "reject"] = "off"


class EventTypeOut(msgspec.Struct, frozen=True, kw_only=True):
    """An event type of the catalogue, or a custom one."""

    name: str
    #: the product whose catalogue has it; null: your own
    profile: str | None
    description: str
    schema: Any
    example: Any
    mode: Literal["off", "warn", "reject"]
    version: int
