"""Who changed what and when: one entry for each command that somebody gave, kept beside the state that it changed.

Entries of a tenant and mode are a ring: entry n has the key `audit/<tenant>/<mode>/<n mod KEPT>`, so that compaction
keeps the latest ones and the registry stays small. Commands that roles give each other name no actor and leave none.
"""

from __future__ import annotations

from typing import Literal

from app.core.commands import (
    Command,
    CreateEndpoint,
    CreateKey,
    CreateReplay,
    PutEventType,
    PutTenant,
    RemoveEventType,
    RotateSecret,
    SuspendEndpoint,
    UpdateEndpoint,
)
from app.core.directory import Directory
from app.core.model import ApiKey, AuditEntry, Endpoint, EventType, Mode, Replay

#: entries of one tenant and mode
KEPT = 100
_MAX_ACTOR = 200


def entry_of(command: Command, key: str, version: int, directory: Directory, now_ms: int) -> AuditEntry | None:
    """The entry for a command's first change (of the record `key`), before it is applied; None: nobody gave it."""
    if not command.actor:
        return None
    tenant, mode = _owner(command, key, directory)
    if not tenant:
        return None
    number = directory.audit_number(tenant, mode) + 1
    return AuditEntry(
        tenant=tenant, mode=mode, number=number, slot=number % KEPT, at_ms=now_ms, actor=command.actor[:_MAX_ACTOR],
        action=str(type(command.action).__struct_config__.tag), entity=key, version=version, detail=_detail(command),
    )  # fmt: skip


def _owner(command: Command, key: str, directory: Directory) -> tuple[str, Mode | Literal[""]]:
    """Whose the changed thing is; the mode is empty where it belongs to both."""
    match command.action:
        case PutTenant(tenant=tenant):
            return tenant.id, ""
        case RemoveEventType(tenant=name, mode=mode):
            return name, mode
        case _:
            pass
    known = _carried(command) or _there(key, directory)
    return (known.tenant, known.mode) if known is not None else ("", "")


def _carried(command: Command) -> Endpoint | ApiKey | EventType | Replay | None:
    match command.action:
        case CreateEndpoint(endpoint=found):
            return found
        case CreateKey(key=found):
            return found
        case PutEventType(event_type=found):
            return found
        case CreateReplay(replay=found):
            return found
        case _:
            return None


def _there(key: str, directory: Directory) -> Endpoint | ApiKey | Replay | None:
    kind, _, name = key.partition("/")
    match kind:
        case "endpoint":
            return directory.endpoint(name)
        case "key":
            return directory.keys.get(name)
        case "replay":
            return directory.replays.get(name)
        case _:
            return None


def _detail(command: Command) -> str:
    """What is worth knowing beyond the action, never a secret."""
    match command.action:
        case UpdateEndpoint(changes=changes):
            return "changed " + ", ".join(sorted(changes))
        case SuspendEndpoint(reason=reason):
            return reason or ""
        case RotateSecret(secret=secret):
            return "no secret from now on" if secret is None else ""
        case CreateEndpoint(endpoint=endpoint):
            return endpoint.url
        case _:
            return ""
