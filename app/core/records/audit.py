"""The records of `audit`: who did what, when, and how the entity looked before and after.

The key is the tenant, the value is JSON (schemas/records/audit.v1.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from app.core.model.event import Mode
from app.core.model.receiver_auth import SECRET_FIELDS
from app.core.model.timestamps import iso

#: the longest actor, and the longest detail or entity, in characters
_MAX_ACTOR = 200
_MAX_DETAIL = 1000
#: the longest field, in bytes of JSON; a record has fewer than 100 fields
_MAX_FIELD = 2048
HIDDEN = "(hidden)"
#: the action of an entry by which the read model learns that a tenant was deleted
TENANT_DELETED = "tenant.delete"
_AUTH_SECRETS = frozenset(SECRET_FIELDS.values())


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of `audit`."""

    tenant: str
    #: live or test; empty: the entity belongs to both, such as the tenant itself
    mode: Mode | Literal[""]
    #: when the action was carried out, ISO 8601 in UTC
    at: str
    #: the user or part that acted: operator, cli, health, the id of a key, or `portal of …`
    actor: str
    #: the action, such as endpoint.update or delivery.retry
    action: str
    #: the entity, such as endpoint/ep_1
    entity: str
    #: the entity's version after the change; 0: it was removed, or has no versions
    version: int = 0
    #: a remark as text
    detail: str = ""
    #: the changed fields before the action; absent: the entity was created, or no field changed
    before: dict[str, Any] | None = None
    #: the same fields after the action; absent: the entity was removed, or no field changed
    after: dict[str, Any] | None = None


_encoder = msgspec.json.Encoder()


def encode(entry: AuditEntry) -> bytes:
    """The entry as JSON."""
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
    """An entry of `now_ms` with all texts and fields cut to their limits."""
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
    return {name: _cut(_redacted(name, value)) for name, value in fields.items()}


def _redacted(name: str, value: Any) -> Any:
    """A field without secrets: signing secrets become their times (of signing keys the public half stays), header
    values and secrets of `auth` are hidden.
    """
    match name, value:
        case "secrets" | "signing_keys", list() | tuple():
            shown = ("public", "created_at_ms", "expires_at_ms")
            return [{each: secret[each] for each in shown if secret.get(each) is not None} for secret in value]
        case "sealed_headers", dict():
            return {each: {"created_at_ms": sealed["created_at_ms"]} for each, sealed in value.items()}
        case "sealed_auth", dict():
            return {"created_at_ms": value["created_at_ms"]}
        case "auth", dict():  # the registry takes secrets sealed only; this holds for whatever it may be sent
            return {each: HIDDEN if each in _AUTH_SECRETS else text for each, text in value.items()}
        case "headers", dict():
            return dict.fromkeys(value, HIDDEN)
        case _:
            return value


def _cut(value: Any) -> Any:
    text = _encoder.encode(value)
    if len(text) <= _MAX_FIELD:
        return value
    return f"{text[:_MAX_FIELD].decode('utf-8', 'ignore')}… ({len(text)} bytes)"
