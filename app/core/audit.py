"""The records of the topic `audit`: who did what, when, and how the entity looked before and after.

Rules of this file
- Every action that somebody asks for has a record: changes of the registry in the transaction that makes them, the
  others (a retry, a test, a portal link) before they are carried out. Commands that roles give each other name no actor
  and have none.
- No secret, no key and no value of a custom header is in a record.
- A record is bounded: what is long is cut, and says how long it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from app.core.commands import (
    Command,
    RotateSecret,
    SuspendEndpoint,
)
from app.core.directory import Directory
from app.core.ingest import iso
from app.core.model import ApiKey, Endpoint, EventType, Mode, Replay, Tenant

_Entity = Endpoint | Tenant | ApiKey | EventType | Replay

#: characters of an actor, and of a detail
_MAX_ACTOR = 200
_MAX_DETAIL = 1000
#: bytes of JSON of one field; a record has fewer than 100 fields
_MAX_FIELD = 2048
#: what follows from the change itself, or is no text for people
_LEFT_OUT = frozenset({"id", "tenant", "mode", "version", "created_at_ms", "updated_at_ms", "digest", "epoch", "holds",
                       "created_by", "rotated_by"})  # fmt: skip
HIDDEN = "(hidden)"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of `audit`; its key is the tenant."""

    tenant: str
    #: live or test; empty: it is about both, such as the tenant itself
    mode: Mode | Literal[""]
    #: ISO 8601, UTC
    at: str
    #: operator, cli, health, the id of a key, or `portal of …`
    actor: str
    #: such as endpoint.update or delivery.retry
    action: str
    #: what it was done to, such as endpoint/ep_1
    entity: str
    #: of the entity after the change; 0: removed, or it has none
    version: int = 0
    #: more about it, in words
    detail: str = ""
    #: the fields that changed, as they were; absent: the entity was created, or nothing of it changed
    before: dict[str, Any] | None = None
    #: the same fields afterwards; absent: the entity was removed, or nothing of it changed
    after: dict[str, Any] | None = None


_encoder = msgspec.json.Encoder()


def encode(entry: AuditEntry) -> bytes:
    """The record's value."""
    return _encoder.encode(entry)


def entry_of(
    command: Command, key: str, value: object, version: int, directory: Directory, now_ms: int
) -> AuditEntry | None:
    """The entry for a command's first change, before `directory` has it: the record `key` gets the state `value`.

    None: no person gave the command, or what it changes is no entity of a tenant.
    """
    if not command.actor:
        return None
    old = _current(key, directory)
    new = value if isinstance(value, _Entity) else None
    changed = new or old
    if changed is None:
        return None
    tenant, mode = _owner(changed)
    before, after = _difference(old, new)
    return action(
        tenant, mode, now_ms, actor=command.actor, action=str(type(command.action).__struct_config__.tag), entity=key,
        version=version, detail=_detail(command), before=before, after=after,
    )  # fmt: skip


def action(
    tenant: str, mode: Mode | Literal[""], now_ms: int, *, actor: str, action: str, entity: str, version: int = 0,
    detail: str = "", before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None,
) -> AuditEntry:  # fmt: skip
    """An entry within its bounds."""
    return AuditEntry(
        tenant=tenant, mode=mode, at=iso(now_ms), actor=actor[:_MAX_ACTOR], action=action, entity=entity[:_MAX_DETAIL],
        version=version, detail=detail[:_MAX_DETAIL], before=_bounded(before), after=_bounded(after),
    )  # fmt: skip


def _owner(entity: _Entity) -> tuple[str, Mode | Literal[""]]:
    """Whose the changed entity is; the mode is empty where it belongs to both."""
    return (entity.id, "") if isinstance(entity, Tenant) else (entity.tenant, entity.mode)


def _current(key: str, directory: Directory) -> _Entity | None:
    kind, _, name = key.partition("/")
    match kind:
        case "endpoint":
            return directory.endpoint(name)
        case "tenant":
            return directory.tenants.get(name)
        case "key":
            return directory.keys.get(name)
        case "replay":
            return directory.replays.get(name)
        case "type":
            tenant, mode, event_type = name.split("/", 2)
            return directory.event_types.get((tenant, mode, event_type))
        case _:
            return None


def _difference(old: _Entity | None, new: _Entity | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The fields that differ, before and after."""
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


def _bounded(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    return {name: _cut(_shown(name, value)) for name, value in fields.items()}


def _shown(name: str, value: Any) -> Any:
    """A field without what must not be read: secrets become their times, header values are hidden."""
    match name, value:
        case "secrets", list() | tuple():
            times = ("created_at_ms", "expires_at_ms")
            return [{each: secret[each] for each in times if secret.get(each) is not None} for secret in value]
        case "headers", dict():
            return dict.fromkeys(value, HIDDEN)
        case _:
            return value


def _cut(value: Any) -> Any:
    text = _encoder.encode(value)
    if len(text) <= _MAX_FIELD:
        return value
    return f"{text[:_MAX_FIELD].decode('utf-8', 'ignore')}… ({len(text)} bytes)"


def _detail(command: Command) -> str:
    match command.action:
        case SuspendEndpoint(reason=reason):
            return reason or ""
        case RotateSecret(secret=None):
            return "no secret from now on"
        case _:
            return ""
