"""The configuration that the service has, read through the API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from app.cli.configuration.desired import Desired, Scope
from app.cli.configuration.plan import UNREGISTERED, Live
from app.cli.configuration.schema import MODES
from app.core.errors import CommandRefused

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

#: the owner of event types that are described without a tenant
TypesOwner = Literal["tenant", "installation"]
#: requests at the same time
AT_ONCE = 8


async def read_live(api: ApiClient, desired: Desired, own: TypesOwner) -> Live:
    """What the service has of the tenants and modes that the files name; `own` are the event types without a tenant."""
    live = Live()
    if desired.tenants:
        live.tenants = {each["id"]: each for each in await api.all("tenants")}
    endpoints = {entry.scope for entry in desired.of("endpoint")} | set(desired.scopes)
    types = {entry.scope for entry in desired.of("event type")}
    await _read(api, live, endpoints, types, own)
    return live


async def read_tenants(api: ApiClient, names: Sequence[str]) -> Live:
    """Everything of the named tenants, or of all; then with the event types of the installation."""
    live = Live()
    tenants = {each["id"]: each for each in await api.all("tenants") if not each.get("deleted_at")}
    live.tenants = {id_: tenants.get(id_, {"id": id_}) for id_ in names or sorted({*tenants, UNREGISTERED})}
    scopes = {Scope(id_, mode) for id_ in live.tenants for mode in MODES}
    await _read(api, live, scopes, scopes if names else scopes | {Scope()}, "installation")
    for name in names:
        if name not in tenants and not any(live.endpoints[scope] for scope in scopes if scope.tenant == name):
            raise CommandRefused("not_found", f"there is no tenant {name}")
    return live


async def read_own(api: ApiClient) -> Live:
    """The endpoints and event types of the tenant and mode that the connection acts for."""
    live = Live()
    await _read(api, live, {Scope()}, {Scope()}, "tenant")
    return live


def acting(api: ApiClient, scope: Scope) -> ApiClient:
    """The API for a tenant and mode."""
    return api.acting_as(scope.tenant, scope.mode) if scope.tenant else api


async def _read(api: ApiClient, live: Live, endpoints: set[Scope], types: set[Scope], own: TypesOwner) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def entries(scope: Scope, what: str) -> list[Any]:
        async with slots:
            return await acting(api, scope).all(what)

    async def read_endpoints(scope: Scope) -> None:
        live.endpoints[scope] = await entries(scope, "webhooks")

    async def read_types(scope: Scope) -> None:
        source = "tenant" if scope.tenant else own
        declared = await entries(scope, "event-types")
        live.event_types[scope] = {each["name"]: each for each in declared if each["source"] == source}

    await asyncio.gather(*map(read_endpoints, sorted(endpoints)), *map(read_types, sorted(types)))
