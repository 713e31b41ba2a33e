"""The audit log: changes in the caller's tenant and mode, and entries for actions that do not change the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.api import pagination
from app.api.contract.fields import PageOut
from app.api.contract.tenants import AuditOut
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.model.event import Mode
from app.core.model.timestamps import iso
from app.core.readmodel.rows import AuditRow
from app.core.records import audit
from app.core.topics.names import TopicName


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Entries, newest first, including changes of the tenant itself."""
    rows, cursor = await entries(api, call)
    return ApiResponse(body=PageOut(data=[present_entry(row) for row in rows], next_cursor=cursor))


async def entries(api: ApiServices, call: ApiRequest) -> tuple[list[AuditRow], str | None]:
    """A page of what the caller may see, and the cursor of the next one."""
    after, limit = pagination.after(call.query.get("cursor")), call.limit()
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise ApiError(400, "invalid_query", "cursor: use the value of next_cursor unchanged")
    rows = list(
        await api.reads.audit(
            call.caller.tenant, call.caller.mode, limit=limit + 1, before=None if after is None else int(after)
        )
    )
    more = len(rows) > limit
    return rows[:limit], pagination.cursor(str(rows[limit - 1].position)) if more else None


def present_entry(row: AuditRow) -> AuditOut:
    """An audit entry as the API shows it."""
    return AuditOut(
        at=iso(row.at_ms),
        actor=row.actor,
        action=row.action,
        entity=row.entity,
        version=row.version,
        detail=row.detail,
        before=None if row.before is None else dict(row.before),
        after=None if row.after is None else dict(row.after),
    )


class Owned(Protocol):
    """The tenant and mode of a request."""

    @property
    def tenant(self) -> str: ...
    @property
    def mode(self) -> Mode: ...


async def record(
    api: ApiServices,
    of: Owned,
    action: str,
    entity: str,
    *,
    detail: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append an entry and wait for its acknowledgement; called before the action, so that every action has an entry.

    If the action then fails, the entry remains: it records the request, not its outcome.
    """
    entry = audit.action(
        of.tenant,
        of.mode,
        api.clock.now_ms(),
        actor=api.actor,
        action=action,
        entity=entity,
        detail=detail,
        before=before,
        after=after,
    )
    topic = api.topics.name(TopicName.AUDIT)
    await (await api.log.append(topic, key=of.tenant.encode(), value=audit.encode(entry)))
