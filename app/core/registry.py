"""What a command does to the registry: state in, change or refusal out.

The registry's records are `endpoint/<id>` and `tenant/<id>`, each with the full state and a version. A command names
the version that it was made for (or none: whatever is there); another version refuses it, so no update is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from app.core.directory import Directory
from app.core.endpoint_rules import endpoint_problems, tenant_problems
from app.core.errors import CommandRefused
from app.core.model import Endpoint, Tenant


class CreateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.create"):
    """Register an endpoint under the id it carries."""

    endpoint: Endpoint


class UpdateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.update"):
    """Change the named fields of an endpoint."""

    id: str
    changes: dict[str, Any]
    expected_version: int | None = None


class RemoveEndpoint(msgspec.Struct, frozen=True, tag="endpoint.remove"):
    """Remove an endpoint; its deliveries under way are cancelled."""

    id: str
    expected_version: int | None = None


class PutTenant(msgspec.Struct, frozen=True, tag="tenant.put"):
    """Register a tenant, or replace what is known of it."""

    tenant: Tenant


Action = CreateEndpoint | UpdateEndpoint | RemoveEndpoint | PutTenant


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of registry.commands."""

    #: names the command; its reply carries it
    id: str
    issued_at_ms: int
    action: Action


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of registry.replies; the key is the command's id."""

    command_id: str
    ok: bool
    #: version of the entity after the command; 0: removed
    version: int = 0
    #: why it was refused: not_found | conflict | exists | invalid | unreadable
    code: str | None = None
    detail: str | None = None


class Change(msgspec.Struct, frozen=True):
    """A record for the registry; value None removes."""

    key: str
    value: Endpoint | Tenant | None
    version: int


#: fields of an endpoint that a command may change
CHANGEABLE = frozenset(Endpoint.__struct_fields__) - {
    "id",
    "tenant",
    "mode",
    "profile",  # its secret was made for the profile: create another endpoint instead
    "created_at_ms",
    "updated_at_ms",
    "version",
}

_encoder = msgspec.json.Encoder()
_command = msgspec.json.Decoder(Command)


def read_command(value: bytes | None) -> Command:
    """The command of a record; `CommandRefused("unreadable")` when it is none."""
    try:
        return _command.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise CommandRefused("unreadable", str(error)) from error


def decide(command: Command, directory: Directory, now_ms: int, profiles: Collection[str]) -> Change:
    """What the command does; raises `CommandRefused`. The caller applies the change to `directory`."""
    match command.action:
        case CreateEndpoint(endpoint=endpoint):
            if directory.endpoint(endpoint.id) is not None:
                raise CommandRefused("exists", f"endpoint {endpoint.id} is there already")
            fresh = msgspec.structs.replace(endpoint, version=1, created_at_ms=now_ms, updated_at_ms=now_ms)
            return _endpoint_change(fresh, profiles)
        case UpdateEndpoint(id=id_, changes=changes, expected_version=expected):
            return _update(_current(directory, id_, expected), changes, now_ms, profiles)
        case RemoveEndpoint(id=id_, expected_version=expected):
            _current(directory, id_, expected)
            return Change(f"endpoint/{id_}", None, 0)
        case PutTenant(tenant=tenant):
            return _put_tenant(tenant, directory, now_ms, profiles)


def apply(directory: Directory, key: str, value: bytes | None) -> None:
    """Read one record of the registry into a directory; kinds that this version does not know are passed over."""
    kind, _, name = key.partition("/")
    match kind, value:
        case "endpoint", None:
            directory.remove_endpoint(name)
        case "endpoint", bytes():
            directory.put_endpoint(_endpoint.decode(value))
        case "tenant", None:
            directory.remove_tenant(name)
        case "tenant", bytes():
            directory.put_tenant(_tenant.decode(value))
        case _:
            pass


def encode(value: Endpoint | Tenant | Command | Reply | None) -> bytes | None:
    """A registry value as JSON; None stays None (a tombstone)."""
    return None if value is None else _encoder.encode(value)


_endpoint = msgspec.json.Decoder(Endpoint)
_tenant = msgspec.json.Decoder(Tenant)


def _current(directory: Directory, endpoint_id: str, expected: int | None) -> Endpoint:
    endpoint = directory.endpoint(endpoint_id)
    if endpoint is None:
        raise CommandRefused("not_found", f"there is no endpoint {endpoint_id}")
    if expected is not None and expected != endpoint.version:
        raise CommandRefused("conflict", f"endpoint {endpoint_id} has version {endpoint.version}, not {expected}")
    return endpoint


def _update(old: Endpoint, changes: Mapping[str, Any], now_ms: int, profiles: Collection[str]) -> Change:
    fixed = sorted(set(changes) - CHANGEABLE)
    if fixed:
        raise CommandRefused("invalid", f"cannot be changed: {', '.join(fixed)}")
    try:
        merged = msgspec.to_builtins(old) | dict(changes) | {"version": old.version + 1, "updated_at_ms": now_ms}
        return _endpoint_change(msgspec.convert(merged, Endpoint), profiles)
    except msgspec.ValidationError as error:
        raise CommandRefused("invalid", str(error)) from error


def _endpoint_change(endpoint: Endpoint, profiles: Collection[str]) -> Change:
    problems = endpoint_problems(endpoint, profiles)
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    return Change(f"endpoint/{endpoint.id}", endpoint, endpoint.version)


def _put_tenant(tenant: Tenant, directory: Directory, now_ms: int, profiles: Collection[str]) -> Change:
    problems = tenant_problems(tenant, profiles)
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    old = directory.tenants.get(tenant.id)
    return Change(
        f"tenant/{tenant.id}",
        msgspec.structs.replace(
            tenant,
            version=old.version + 1 if old else 1,
            created_at_ms=old.created_at_ms if old else now_ms,
            updated_at_ms=now_ms,
        ),
        old.version + 1 if old else 1,
    )
