"""Tenants, their brands and their API keys."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.event import Mode


class Brand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a tenant's portal looks."""

    #: empty: the tenant's name
    name: str = ""
    #: `#rrggbb`; empty: Hookstream's
    color: str = ""
    #: https:// or data:image/…; empty: none
    logo: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer, isolated from all others; the value of `tenant/<id>` in registry."""

    id: str
    name: str = ""
    #: the default profile of its endpoints
    profile: str = "standard"
    notify_emails: tuple[str, ...] = ()
    #: whether endpoints may subscribe to types that are not in a catalogue; null: only where the profile is `standard`
    open_catalogue: bool | None = None
    #: null: Hookstream's
    brand: Brand | None = None
    #: labels of the operator's own
    metadata: dict[str, str] = {}
    #: days that the read model keeps its rows; null, or more than the installation's: as long as the installation's
    retention_days: int | None = None
    #: paths in events' data whose values are sent and never shown
    redact: tuple[str, ...] = ()
    #: milliseconds since the epoch; null: it exists. Of a deleted tenant nothing else remains
    deleted_at_ms: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


#: `pull`: read the events of pull endpoints and commit, and nothing else
KeyScope = Literal["read", "write", "pull"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key of the management API; the value of `key/<id>` in registry. The key itself is not stored."""

    id: str
    tenant: str
    mode: Mode
    #: hex SHA-256 of the key
    digest: str
    #: its last four characters, by which its owner recognises it
    last4: str
    name: str = ""
    scopes: tuple[KeyScope, ...] = ("read", "write")
    #: milliseconds since the epoch; null: it does not expire
    expires_at_ms: int | None = None
    created_at_ms: int = 0
    version: int = 1
