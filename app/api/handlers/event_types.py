"""Event types: the tenant's own, the installation's, and the products' catalogues.

A name that is declared at several of these places means the tenant's own type, else the installation's, else the
product's. The operator, without a tenant, reads and writes the installation's catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.contract.events import EventTypeIn, EventTypeOut
from app.api.contract.fields import FieldError
from app.api.handlers import event_type_import
from app.api.pagination import page
from app.api.problems import ApiError, invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices, Caller
from app.core.directory import INSTALLATION
from app.core.model.event_types import EventType
from app.core.records.command import PutEventType, RemoveEventType
from app.profiles.catalog import PROFILES, CatalogueEntry


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The declared types, and those of the catalogue of one profile (default: the tenant's; of the operator: none)."""
    profile = call.query.get("profile")
    if profile is not None and profile not in PROFILES:
        raise ApiError(400, "invalid_query", f"profile: one of {', '.join(PROFILES)}")
    types = visible(api, call.caller, profile)
    return ApiResponse(body=page(call, list(types.values()), lambda each: each.name, lambda each: each))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One event type: the tenant's, the installation's or a product's."""
    return ApiResponse(body=_declared_anywhere(api, call))


async def put(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Register or replace a type of the tenant, or for the operator of the installation's catalogue."""
    body: EventTypeIn = call.body
    schema = None if body.schema is None else msgspec.json.encode(body.schema).decode()
    problem = api.schema_problem(schema) if schema is not None else None
    if problem is not None:
        raise invalid(FieldError(detail=problem.detail, pointer=f"/schema{problem.pointer}"))
    name, (tenant, mode) = call.path["name"], call.caller.type_owner
    event_type = EventType(
        name=name,
        tenant=tenant,
        mode=mode,
        description=body.description,
        schema=schema,
        example=None if body.example is None else msgspec.json.encode(body.example).decode(),
        enforce=body.mode,
    )
    await api.command(PutEventType(event_type), f"{tenant}/{name}")
    return ApiResponse(body=_declared_anywhere(api, call))


async def delete(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Remove a type of the tenant, or for the operator of the installation's catalogue."""
    name, (tenant, mode) = call.path["name"], call.caller.type_owner
    if (tenant, mode, name) not in api.feed.directory.event_types:
        raise not_found("event type of the installation" if call.caller.operator else "event type of your own", name)
    await api.command(RemoveEventType(tenant, mode, name), f"{tenant}/{name}")
    return ApiResponse()


async def import_openapi(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Declare the webhooks of an OpenAPI document as event types, or return what that would change."""
    return ApiResponse(body=await event_type_import.import_types(api, call))


def visible(api: ApiServices, caller: Caller, profile: str | None = None) -> Mapping[str, EventTypeOut]:
    """The types that a caller's events may have, by name in order, with those of one profile's catalogue."""
    if profile is None and not caller.operator:
        profile = profile_of(api, caller.tenant)
    types = {name: catalogued(entry) for name, entry in api.catalogue.get(profile or "", {}).items()}
    declared = api.feed.directory.declared_types(*caller.type_owner)
    types |= {name: present_event_type(each) for name, each in declared.items()}
    return dict(sorted(types.items()))


def profile_of(api: ApiServices, tenant_id: str) -> str:
    """The profile of a tenant; `standard` if the tenant is not registered."""
    tenant = api.feed.directory.tenants.get(tenant_id)
    return tenant.profile if tenant is not None else "standard"


def present_event_type(event_type: EventType) -> EventTypeOut:
    """A type of a tenant or of the installation."""
    return EventTypeOut(
        name=event_type.name,
        source="installation" if (event_type.tenant, event_type.mode) == INSTALLATION else "tenant",
        profile=None,
        description=event_type.description,
        schema=_json(event_type.schema),
        example=_json(event_type.example),
        mode=event_type.enforce,
        version=event_type.version,
    )


def catalogued(entry: CatalogueEntry) -> EventTypeOut:
    """A type of a product."""
    return EventTypeOut(
        name=entry.type,
        source="product",
        profile=entry.profile,
        description=entry.description,
        schema=msgspec.json.decode(entry.schema),
        example=msgspec.json.decode(entry.examples[0]),
        mode="off",
        version=1,
    )


def _json(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None


def _declared_anywhere(api: ApiServices, call: ApiRequest) -> EventTypeOut:
    name = call.path["name"]
    declared = api.feed.directory.event_type(*call.caller.type_owner, name)
    if declared is not None:
        return present_event_type(declared)
    first = profile_of(api, call.caller.tenant)
    for profile in sorted(api.catalogue, key=lambda each: each != first):
        if name in api.catalogue[profile]:
            return catalogued(api.catalogue[profile][name])
    raise not_found("event type", name)
