"""What files may hold: the types derive from the bodies of the API, and these from the declaration of their fields."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.contract.events import EventTypeIn
from app.api.contract.fields import Input
from app.api.contract.tenants import TenantIn
from app.api.contract.webhooks import WebhookIn
from app.core import limits
from app.core.model.endpoint_settings import UID_PATTERN


class EndpointEntry(WebhookIn, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint of a file."""

    uid: Annotated[str, Meta(min_length=1, max_length=limits.UID, extra_json_schema={"pattern": UID_PATTERN})]
    #: left out: the service's state stays as it is; a new endpoint is active
    active: bool | UnsetType = UNSET  # type: ignore[assignment]
    #: left out: a new endpoint gets a generated secret, an existing one stays as it is
    unsigned: bool | UnsetType = UNSET  # type: ignore[assignment]


class EventTypeEntry(EventTypeIn, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event type of a file."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.TYPE)]


class Section(Input, frozen=True, kw_only=True):
    """What a tenant has in one mode."""

    event_types: list[Any] | None = None
    endpoints: list[Any] | None = None


class TenantEntry(TenantIn, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant of a file; with nothing but its id and modes its settings are left alone."""

    live: dict[str, Any] | None = None
    test: dict[str, Any] | None = None


class Document(Section, frozen=True, kw_only=True):
    """A document of a file: tenants, or what belongs to the tenant and mode of the command's key."""

    tenants: list[Any] | None = None


#: the modes of a tenant's entry
MODES = ("live", "test")
#: what makes an entry of a tenant more than a place for its endpoints
TENANT_FIELDS = tuple(field.name for field in msgspec.structs.fields(TenantIn) if field.name != "id")
EVENT_TYPE_FIELDS = tuple(field.name for field in msgspec.structs.fields(EventTypeIn))
