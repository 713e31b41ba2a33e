"""Event types: the products' catalogue, and the tenant's own with their schemas."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.events import EventTypeIn, EventTypeOut
from app.api.contract.fields import FieldError
from app.api.pagination import page
from app.api.problems import ApiError, invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.model.event_types import EventType
from app.core.records.command import PutEventType, RemoveEventType
from app.profiles.catalog import PROFILES, CatalogueEntry


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The tenant's own types, then those of the catalogue of one profile (default: the tenant's)."""
    tenant = api.feed.directory.tenants.get(call.caller.tenant)
    profile = call.query.get("profile") or (tenant.profile if tenant else "standard")
    if profile not in PROFILES:
        raise ApiError(400, "invalid_query", f"profile: one of {', '.join(PROFILES)}")
    mine = (call.caller.tenant, call.caller.mode)
    found = {name: catalogued(entry) for name, entry in api.catalogue.get(profile, {}).items()}
    found |= {name: own(each) for (whose, mode, name), each in _all(api).items() if (whose, mode) == mine}
    return ApiResponse(
        body=page(call, [found[name] for name in sorted(found)], lambda each: each.name, lambda each: each)
    )


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One type: the tenant's own, else the catalogue's."""
    return ApiResponse(body=_found(api, call))


async def put(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Register or replace one of the tenant's own."""
    body: EventTypeIn = call.body
    schema = None if body.schema is None else msgspec.json.encode(body.schema).decode()
    problem = api.schema_problem(schema) if schema is not None else None
    if problem is not None:
        raise invalid(FieldError(detail=problem.detail, pointer=f"/schema{problem.pointer}"))
    name, tenant = call.path["name"], call.caller.tenant
    event_type = EventType(
        name=name,
        tenant=tenant,
        mode=call.caller.mode,
        description=body.description,
        schema=schema,
        enforce=body.mode,
    )
    await api.command(PutEventType(event_type), f"{tenant}/{name}")
    return ApiResponse(body=_found(api, call))


async def delete(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Remove one of the tenant's own."""
    name, tenant = call.path["name"], call.caller.tenant
    if (tenant, call.caller.mode, name) not in _all(api):
        raise not_found("event type of your own", name)
    await api.command(RemoveEventType(tenant, call.caller.mode, name), f"{tenant}/{name}")
    return ApiResponse()


def own(event_type: EventType) -> EventTypeOut:
    """A type of a tenant."""
    schema = msgspec.json.decode(event_type.schema) if event_type.schema else None
    return EventTypeOut(
        name=event_type.name,
        profile=None,
        description=event_type.description,
        schema=schema,
        example=None,
        mode=event_type.enforce,
        version=event_type.version,
    )


def catalogued(entry: CatalogueEntry) -> EventTypeOut:
    """A type of a product."""
    schema: Any = msgspec.json.decode(entry.schema)
    return EventTypeOut(
        name=entry.type,
        profile=entry.profile,
        description=entry.description,
        schema=schema,
        example=msgspec.json.decode(entry.examples[0]),
        mode="off",
        version=1,
    )


def _all(api: ApiServices) -> dict[tuple[str, str, str], EventType]:
    return api.feed.directory.event_types


def _found(api: ApiServices, call: ApiRequest) -> EventTypeOut:
    name = call.path["name"]
    mine = _all(api).get((call.caller.tenant, call.caller.mode, name))
    if mine is not None:
        return own(mine)
    tenant = api.feed.directory.tenants.get(call.caller.tenant)
    first = tenant.profile if tenant else "standard"
    for profile in sorted(api.catalogue, key=lambda each: each != first):
        if name in api.catalogue[profile]:
            return catalogued(api.catalogue[profile][name])
    raise not_found("event type", name)
