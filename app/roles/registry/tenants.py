"""Decisions about tenants: put them, and delete them with all that they hold.

Rules of this file
- A deletion is stored in the record of the tenant, which stays: it has the time, and nothing else of the tenant. From
  then on nothing can be created for the tenant, and its id is never used again. Late events and records that still name
  it can therefore never become another tenant's.
- What the tenant holds is removed in steps of a bounded number of tombstones. A deletion is complete once a step finds
  nothing; the record of the tenant is all that the writer needs to continue after a crash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

import msgspec

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.limits import TenantLimits
from app.core.model.tenant import Tenant
from app.core.model.timestamps import iso
from app.core.records.command import DeleteTenant, PutTenant
from app.roles.registry.changes import RegistryChange
from app.roles.registry.rules import tenant_problems

#: entities that the command itself removes, and those of each further step of the writer
WITH_COMMAND, IN_STEP = 100, 1000
#: the tenant of events that name none
_DEFAULT = "default"


def check_not_deleted(directory: Directory, tenant_id: str) -> None:
    """Raise `CommandRefused` if the tenant was deleted."""
    deleted = directory.deleted_tenants.get(tenant_id)
    if deleted is not None:
        when = iso(deleted.deleted_at_ms or 0)
        raise CommandRefused("tenant_deleted", f"tenant {tenant_id} was deleted at {when}: its id is not used again")


def put(action: PutTenant, directory: Directory, now_ms: int, profiles: Collection[str]) -> RegistryChange:
    """Create or replace a tenant."""
    tenant = action.tenant
    problems = tenant_problems(tenant, profiles)
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    check_not_deleted(directory, tenant.id)
    old = directory.tenants.get(tenant.id)
    version = old.version if old else 0
    _check_version(tenant.id, version, action.expected_version)
    created = old.created_at_ms if old else now_ms
    fresh = msgspec.structs.replace(
        tenant, version=version + 1, created_at_ms=created, updated_at_ms=now_ms, deleted_at_ms=None
    )
    return RegistryChange(f"tenant/{tenant.id}", fresh, fresh.version)


def unsubscribe(tenant_id: str, address: str, directory: Directory, now_ms: int) -> list[RegistryChange]:
    """Remove an address from a tenant's notification e-mails."""
    old = directory.tenants.get(tenant_id)
    remaining = tuple(each for each in old.notify_emails if each.lower() != address.lower()) if old else ()
    if old is None or remaining == old.notify_emails:
        return []
    fresh = msgspec.structs.replace(old, notify_emails=remaining, version=old.version + 1, updated_at_ms=now_ms)
    return [RegistryChange(f"tenant/{old.id}", fresh, fresh.version)]


def delete(action: DeleteTenant, directory: Directory, now_ms: int) -> list[RegistryChange]:
    """Mark a tenant as deleted, and take the first step of removing what it holds. No change if it is deleted."""
    if action.id in directory.deleted_tenants:
        return []
    if action.id == _DEFAULT:
        raise CommandRefused("default_tenant", f"events that name no tenant are of {_DEFAULT}: it cannot be deleted")
    old = directory.tenants.get(action.id)
    if old is None and directory.holdings(action.id) == _NOTHING:  # it may be unregistered, and hold something
        raise CommandRefused("not_found", f"there is no tenant {action.id}")
    version = old.version if old else 0
    _check_version(action.id, version, action.expected_version)
    created = old.created_at_ms if old else now_ms
    gone = Tenant(id=action.id, created_at_ms=created, updated_at_ms=now_ms, deleted_at_ms=now_ms, version=version + 1)
    return [RegistryChange(f"tenant/{gone.id}", gone, gone.version), *sweep(directory, gone.id, WITH_COMMAND)]


def sweep(directory: Directory, tenant_id: str, limit: int = IN_STEP) -> list[RegistryChange]:
    """Tombstones for at most `limit` entities that a tenant holds; empty: it holds nothing."""
    return [RegistryChange(key, None, 0) for key in islice(_held(directory, tenant_id), limit)]


def unfinished(directory: Directory) -> set[str]:
    """The deleted tenants that still hold something."""
    deleted = directory.deleted_tenants
    holding = {tenant_id for tenant_id in deleted if directory.holdings(tenant_id) != _NOTHING}
    return holding | {each.tenant for each in directory.replays.values() if each.tenant in deleted}


_NOTHING = TenantLimits(endpoints=0, keys=0, event_types=0)


def _held(directory: Directory, tenant_id: str) -> Iterator[str]:
    """The registry's keys of what a tenant holds: what could use it first, then what it is used for."""
    holdings = directory.holdings(tenant_id)
    if holdings.keys:
        yield from (f"key/{each.id}" for each in directory.keys.values() if each.tenant == tenant_id)
    yield from (f"replay/{each.id}" for each in directory.replays.values() if each.tenant == tenant_id)
    for mode in ("live", "test"):
        yield from (f"endpoint/{each.id}" for each in directory.endpoints(tenant_id, mode))
    if holdings.event_types:
        for tenant, mode, name in directory.event_types:
            if tenant == tenant_id:
                yield f"type/{tenant}/{mode}/{name}"


def _check_version(tenant_id: str, version: int, expected: int | None) -> None:
    if expected is not None and expected != version:
        raise CommandRefused("conflict", f"tenant {tenant_id} has version {version}, not {expected}")
