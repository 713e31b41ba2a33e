"""Who changed what: the latest entries of the caller's tenant and mode."""

from __future__ import annotations

from app.core.ingest import iso
from app.core.model import AuditEntry
from app.roles.api.calls import Answer, Call, Services
from app.roles.api.contract_tenants import AuditOut
from app.roles.api.pages import page


async def list_(api: Services, call: Call) -> Answer:
    """The latest first, with what was changed of the tenant itself."""
    return Answer(body=page(call, entries(api, call), _order, shown))


def entries(api: Services, call: Call) -> list[AuditEntry]:
    """What the caller may see, the latest first."""
    tenant = call.caller.tenant
    found = [*api.feed.directory.audit(tenant, call.caller.mode), *api.feed.directory.audit(tenant, "")]
    return sorted(found, key=_order)


def shown(entry: AuditEntry) -> AuditOut:
    """What a customer sees of an entry."""
    return AuditOut(
        at=iso(entry.at_ms), actor=entry.actor, action=entry.action, entity=entry.entity, version=entry.version,
        detail=entry.detail,
    )  # fmt: skip


def _order(entry: AuditEntry) -> str:
    """Ascending is: the latest first."""
    return f"{10**15 - entry.at_ms:016}/{10**9 - entry.number:010}/{entry.mode}"
