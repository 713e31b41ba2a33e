"""Import event types from the `webhooks` of an OpenAPI document: what would change, and the change itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.api.contract.events import EventTypeChange, EventTypesImported, EventTypesImportIn, SchemaDifference
from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.api.request import ApiRequest, ApiServices
from app.api.turnstile import Turnstile
from app.core.errors import CommandRefused
from app.core.model.event_types import EventType
from app.core.records.command import PutEventType
from app.core.schemas.openapi_webhooks import SkippedWebhook, WebhookType, read_webhooks

#: differences of one type that an answer shows, and the nodes that are compared for them
_SHOWN = 20
_COMPARED = 20_000
#: commands that are in progress at once
_AT_ONCE = 10
_imports = Turnstile("import", at_once=1, wait_s=30.0)


async def import_types(api: ApiServices, call: ApiRequest) -> EventTypesImported:
    """Declare new and changed types of the document; a dry run only lists them.

    Types that the document does not have stay as they are. Raises `ApiError` 422 when the document cannot be read.
    """
    body: EventTypesImportIn = call.body
    async with _imports.turn(call.caller.tenant):
        try:
            read = await asyncio.to_thread(read_webhooks, body.document, body.body)
        except ValueError as error:
            raise invalid(FieldError(detail=str(error), pointer="/document")) from error
        pairs = [await _planned(api, call, each) for each in read]
        if not body.dry_run:
            pairs = await _carried_out(api, call, pairs)
    changes = [change for change, _ in pairs]
    counts = {name: sum(each.action == name for each in changes) for name in ("add", "change", "unchanged", "skip")}
    return EventTypesImported(
        dry_run=body.dry_run,
        added=counts["add"],
        changed=counts["change"],
        unchanged=counts["unchanged"],
        skipped=counts["skip"],
        event_types=changes,
    )


_Planned = tuple[EventTypeChange, EventType | None]


async def _planned(api: ApiServices, call: ApiRequest, read: WebhookType | SkippedWebhook) -> _Planned:
    """The effect of an import on one type, and its new declaration, if it changes."""
    if isinstance(read, SkippedWebhook):
        return _skip(read.name, read.reason), None
    tenant, mode = call.caller.type_owner
    old = api.feed.directory.event_types.get((tenant, mode, read.name))
    enforce = call.body.mode or (old.enforce if old is not None else "off")
    if enforce != "off" and read.schema is None:
        return _skip(read.name, f"mode {enforce} needs a schema, and the document has none"), None
    new = EventType(
        name=read.name,
        tenant=tenant,
        mode=mode,
        description=read.description,
        schema=read.schema,
        example=read.example,
        enforce=enforce,
    )
    if old is not None and _declared(old) == _declared(new):
        return EventTypeChange(name=read.name, action="unchanged"), None
    if read.schema is not None and (old is None or old.schema != read.schema):
        problem = await asyncio.to_thread(api.schema_problem, read.schema)
        if problem is not None:
            return _skip(read.name, f"schema{problem.pointer}: {problem.detail}"), None
    if old is None:
        return EventTypeChange(name=read.name, action="add"), new
    differences = list(_differences(_declared(old), _declared(new)))
    return EventTypeChange(
        name=read.name,
        action="change",
        differences=differences[:_SHOWN],
        more_differences=max(0, len(differences) - _SHOWN),
    ), new


async def _carried_out(api: ApiServices, call: ApiRequest, planned: Sequence[_Planned]) -> list[_Planned]:
    """Write the declarations. A declaration that the registry refuses is returned as skipped."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def put(change: EventTypeChange, new: EventType | None) -> _Planned:
        if new is None:
            return change, None
        async with limit:
            try:
                entity = f"{new.tenant}/{new.name}"
                await api.commands.call(PutEventType(new), entity=entity, actor=api.actor)
            except CommandRefused as refusal:
                return _skip(new.name, str(refusal)), None
        return change, new

    results = await asyncio.gather(*(put(*each) for each in planned))
    await api.feed.catch_up_after_reply()
    return results


def _skip(name: str, reason: str) -> EventTypeChange:
    return EventTypeChange(name=name, action="skip", reason=reason)


def _declared(event_type: EventType) -> dict[str, Any]:
    """The fields of a type that an import compares."""
    return {
        "description": event_type.description,
        "schema": msgspec.json.decode(event_type.schema) if event_type.schema else None,
        "example": msgspec.json.decode(event_type.example) if event_type.example else None,
        "mode": event_type.enforce,
    }


def _differences(old: object, new: object) -> Iterator[SchemaDifference]:
    """The JSON Pointers at which two values differ, in the order of the new value."""
    left = _COMPARED
    waiting: list[tuple[str, object, object]] = [("", old, new)]
    while waiting and left:
        left -= 1
        pointer, before, after = waiting.pop()
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            inner = []
            for key in {**after, **before}:
                place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
                if key not in before:
                    yield SchemaDifference(pointer=place, change="added")
                elif key not in after:
                    yield SchemaDifference(pointer=place, change="removed")
                else:
                    inner.append((place, before[key], after[key]))
            waiting += reversed(inner)
        else:
            yield SchemaDifference(pointer=pointer, change="changed")
