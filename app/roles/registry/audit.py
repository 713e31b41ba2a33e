"""The audit entry of a registry command: who did what, when, and how the entity looked before and after.

Rules of this file
- Every action of a user has an entry, and so has every deletion of a tenant. Changes of the registry have theirs in
  the same transaction; other actions (a retry, a test, a portal link) have theirs before they are carried out. Commands
  between roles have no actor and no entry.
- No entry contains a secret, a key or the value of a custom header.
- An entry is bounded: long values are cut, with their original size.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.erasure import Erasure
from app.core.model.event import Mode
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Tenant
from app.core.records.audit import AuditEntry, action
from app.core.records.command import Command, DeleteTenant, RotateSecret, SuspendEndpoint

#: the actor of a deletion that names none; the read model needs the entry
_UNKNOWN = "unknown"
_Entity = Endpoint | Tenant | ApiKey | EventType | Replay | Erasure
#: fields that change with every change, or that mean nothing to a user
_LEFT_OUT = frozenset(
    {
        "id",
        "tenant",
        "mode",
        "version",
        "created_at_ms",
        "updated_at_ms",
        "digest",
        "epoch",
        "suspensions",
        "created_by",
        "rotated_by",
        "key_rotated_by",
    }
)


def entry_of(
    command: Command, key: str, value: object, version: int, directory: Directory, now_ms: int
) -> AuditEntry | None:
    """The entry for a command's first change, which sets the record `key` to `value`; `directory` has the old state.

    None if the command has no actor, or the change is not of a tenant's entity.
    """
    if not command.actor and not isinstance(command.action, DeleteTenant):
        return None
    old = _current(key, directory)
    new = value if isinstance(value, _Entity) else None
    changed = new or old
    if changed is None:
        return None
    tenant, mode = _owner(changed)
    before, after = _difference(old, new)
    return action(
        tenant,
        mode,
        now_ms,
        actor=command.actor or _UNKNOWN,
        action=str(type(command.action).__struct_config__.tag),
        entity=key,
        version=version,
        detail=_detail(command, directory),
        before=before,
        after=after,
    )


def _owner(entity: _Entity) -> tuple[str, Mode | Literal[""]]:
    """The tenant and mode of an entity; the mode is empty if it belongs to both."""
    return (entity.id, "") if isinstance(entity, Tenant) else (entity.tenant, entity.mode)


def _current(key: str, directory: Directory) -> _Entity | None:
    kind, _, name = key.partition("/")
    match kind:
        case "endpoint":
            return directory.endpoint(name)
        case "tenant":
            return directory.tenants.get(name) or directory.deleted_tenants.get(name)
        case "key":
            return directory.keys.get(name)
        case "erasure":
            return directory.erasures.by_id.get(name)
        case "replay":
            return directory.replays.get(name)
        case "type":
            tenant, mode, event_type = name.split("/", 2)
            return directory.event_types.get((tenant, mode, event_type))
        case _:
            return None


def _difference(old: _Entity | None, new: _Entity | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The fields that differ, with their values before and after."""
    before, after = _fields(old), _fields(new)
    if old is None or new is None:
        return _filled(before) or None, _filled(after) or None
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not names:
        return None, None
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def _fields(entity: _Entity | None) -> dict[str, Any]:
    if entity is None:
        return {}
    fields = msgspec.structs.asdict(entity)
    return {name: msgspec.to_builtins(fields[name], str_keys=True) for name in fields if name not in _LEFT_OUT}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [], (), {})}


def _detail(command: Command, directory: Directory) -> str:
    match command.action:
        case DeleteTenant(id=id_):
            held = directory.holdings(id_)
            return f"{held.endpoints} endpoints, {held.keys} keys and {held.event_types} event types with it"
        case SuspendEndpoint(reason=reason):
            return reason or ""
        case RotateSecret(secret=None):
            return "no secret from now on"
        case _:
            return ""
