"""The records of `audit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from app.core.model.event import Mode
from app.core.model.timestamps import iso

#: characters of an actor, and of a detail
_MAX_ACTOR = 200
_MAX_DETAIL = 1000
#: bytes of JSON of one field; a record has fewer than 100 fields
_MAX_FIELD = 2048
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


def action(
    tenant: str,
    mode: Mode | Literal[""],
    now_ms: int,
    *,
    actor: str,
    action: str,
    entity: str,
    version: int = 0,
    detail: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """An entry within its bounds."""
    return AuditEntry(
        tenant=tenant,
        mode=mode,
        at=iso(now_ms),
        actor=actor[:_MAX_ACTOR],
        action=action,
        entity=entity[:_MAX_DETAIL],
        version=version,
        detail=detail[:_MAX_DETAIL],
        before=_bounded(before),
        after=_bounded(after),
    )


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
