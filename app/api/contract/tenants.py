"""Bodies of tenants, their keys, portal links and audit entries."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.contract.fields import Input, ProfileName, Url
from app.core import limits
from app.core.model.event import Mode
from app.core.model.tenant import Brand, KeyScope

Scopes = Annotated[list[KeyScope], Meta(max_length=limits.SCOPES)]


Labels = Annotated[
    dict[
        Annotated[str, Meta(max_length=limits.METADATA_NAME)],
        Annotated[str, Meta(max_length=limits.METADATA_VALUE)],
    ],
    Meta(max_length=limits.METADATA),
]
Redacted = Annotated[list[Annotated[str, Meta(max_length=limits.INCLUDED_PATH)]], Meta(max_length=limits.REDACTED)]
RetentionDays = Annotated[int, Meta(ge=limits.TENANT_RETENTION[0], le=limits.TENANT_RETENTION[1])]
Addresses = Annotated[list[Annotated[str, Meta(max_length=limits.ADDRESS)]], Meta(max_length=limits.ADDRESSES)]


class BrandIn(Input, frozen=True, kw_only=True):
    """The appearance of a tenant's portal."""

    #: empty: the tenant's name
    name: Annotated[str, Meta(max_length=limits.BRAND_NAME)] = ""
    #: `#rrggbb`; empty: ours
    color: Annotated[str, Meta(max_length=7)] = ""
    #: https:// or data:image/…; empty: none
    logo: Annotated[str, Meta(max_length=limits.BRAND_LOGO)] = ""


class TenantIn(Input, frozen=True, kw_only=True):
    """A tenant to create or replace."""

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,128}$")]
    name: Annotated[str, Meta(max_length=limits.NAME)] = ""
    profile: ProfileName = "standard"
    notify_emails: Addresses = []
    #: endpoints may subscribe to types that no catalogue knows; null: only with the profile `standard`
    open_catalogue: bool | None = None
    #: how the tenant's portal looks
    brand: BrandIn | None = None
    #: labels of your own; customers do not see them
    metadata: Labels = {}
    #: days after which its events, deliveries and attempts are removed from the read model; null: as for all tenants
    retention_days: RetentionDays | None = None
    #: paths in the data of its events, such as `customer.email`, whose values are sent but never shown
    redact: Redacted = []


class TenantPatch(Input, frozen=True, kw_only=True):
    """Fields of a tenant to change."""

    name: Annotated[str, Meta(max_length=limits.NAME)] | UnsetType = UNSET
    profile: ProfileName | UnsetType = UNSET
    notify_emails: Addresses | UnsetType = UNSET
    #: null: only with the profile `standard`
    open_catalogue: bool | UnsetType | None = UNSET
    #: null: ours
    brand: BrandIn | UnsetType | None = UNSET
    #: replaces all labels
    metadata: Labels | UnsetType = UNSET
    #: null: as for all tenants
    retention_days: RetentionDays | UnsetType | None = UNSET
    #: replaces all paths
    redact: Redacted | UnsetType = UNSET


class TenantOut(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    profile: str
    notify_emails: list[str]
    open_catalogue: bool
    brand: Brand | None
    metadata: dict[str, str]
    #: null: as for all tenants
    retention_days: int | None
    redact: list[str]
    version: int
    created_at: str
    updated_at: str
    #: when it was deleted; null: it exists. Of a deleted tenant nothing else remains
    deleted_at: str | None


class TenantDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a deletion, which stays."""

    id: str
    deleted_at: str
    #: endpoints, keys and event types that are still to be removed, which goes on in the background
    remaining: int


class PortalLinkIn(Input, frozen=True, kw_only=True):
    """A link to the portal."""

    #: seconds during which the link and what it opened work: 1 minute to 1 day
    expires_in: Annotated[int, Meta(ge=60, le=86_400)] = 3600
    #: where the portal leads back to
    return_url: Url | None = None
    #: what its holder may do; default: what you may
    scopes: Scopes | None = None


class PortalLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link to the portal. Anyone who has the link can use it."""

    url: str
    expires_at: str


class AuditOut(msgspec.Struct, frozen=True, kw_only=True):
    """One change, and who made it."""

    at: str
    #: operator, cli, health, the id of a key, or `portal of …`
    actor: str
    #: endpoint.update, endpoint.rotate, tenant.put, delivery.retry …
    action: str
    #: what it was done to, such as endpoint/ep_1
    entity: str
    #: of it after the change; 0: removed, or it has none
    version: int
    detail: str
    #: the fields that changed, as they were; null: it was created, or nothing of it changed. Secrets are never shown
    before: dict[str, Any] | None
    #: the same fields afterwards; null: it was removed, or nothing of it changed
    after: dict[str, Any] | None


class KeyIn(Input, frozen=True, kw_only=True):
    """An API key to create."""

    mode: Mode
    name: Annotated[str, Meta(max_length=limits.NAME)] = ""
    scopes: Scopes = msgspec.field(default_factory=lambda: ["read", "write"])
    #: ISO 8601 with zone; null: never
    expires_at: Annotated[str, Meta(max_length=limits.TIME)] | None = None


class KeyOut(msgspec.Struct, frozen=True, kw_only=True):
    """An API key."""

    id: str
    mode: Mode
    name: str
    scopes: list[KeyScope]
    last4: str
    expires_at: str | None
    created_at: str
    #: the key itself; only in the answer to its creation
    key: str | UnsetType = UNSET
