"""Exports straight from a product's API, as the documents that the files would hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from app.cli.configuration.imports.sources import entries, mapping, text_of
from app.core.errors import Unavailable

if TYPE_CHECKING:
    from app.adapters.http.foreign_api import ForeignApi

#: requests at the same time
_AT_ONCE = 4
_PAGE = "100"


async def fetch_svix(api: ForeignApi) -> Any:
    """All applications with their endpoints, secrets and headers. The address is that of the server."""
    root = ("api", "v1", "app")
    slots = asyncio.Semaphore(_AT_ONCE)

    async def detail(path: tuple[str, ...], name: str) -> Any:
        async with slots:
            return await api.get(*path, name, slash=True)

    async def whole(path: tuple[str, ...], endpoint: Mapping[str, Any]) -> dict[str, Any]:
        place = (*path, text_of(endpoint.get("id")))
        secret, headers = await asyncio.gather(detail(place, "secret"), detail(place, "headers"))
        return {**endpoint, "secret": secret, "headers": headers}

    async def with_endpoints(application: Mapping[str, Any]) -> dict[str, Any]:
        path = (*root, text_of(application.get("id")), "endpoint")
        listed = await _svix_list(api, path)
        return {**application, "endpoints": await asyncio.gather(*(whole(path, each) for each in listed))}

    return {"applications": [await with_endpoints(each) for each in await _svix_list(api, root)]}


async def fetch_convoy(api: ForeignApi) -> Any:
    """Endpoints and subscriptions. The address is that of the project: …/api/v1/projects/ID."""
    return {name: await _convoy_list(api, name) for name in ("endpoints", "subscriptions")}


async def fetch_outpost(api: ForeignApi) -> Any:
    """All tenants with their destinations. The address is that of the API: …/api/v1."""

    async def page(cursor: str) -> tuple[list[Any], str]:
        answer = await api.get("tenants", query={"limit": _PAGE} | ({"next": cursor} if cursor else {}))
        return entries(answer), text_of(mapping(mapping(answer).get("pagination")).get("next"))

    tenants = []
    for tenant in map(mapping, await _all(page)):
        destinations = await api.get("tenants", text_of(tenant.get("id")), "destinations")
        tenants.append({**tenant, "destinations": destinations})
    return {"tenants": tenants}


FETCH: Mapping[str, Callable[[ForeignApi], Awaitable[Any]]] = {
    "svix": fetch_svix,
    "convoy": fetch_convoy,
    "outpost": fetch_outpost,
}


async def _svix_list(api: ForeignApi, path: tuple[str, ...]) -> list[Mapping[str, Any]]:
    async def page(cursor: str) -> tuple[list[Any], str]:
        answer = await api.get(*path, query={"limit": _PAGE} | ({"iterator": cursor} if cursor else {}), slash=True)
        done = mapping(answer).get("done", True)
        return entries(answer), "" if done else text_of(mapping(answer).get("iterator"))

    return [each for each in map(mapping, await _all(page)) if text_of(each.get("id"))]


async def _convoy_list(api: ForeignApi, name: str) -> list[Any]:
    async def page(cursor: str) -> tuple[list[Any], str]:
        query = {"perPage": _PAGE, "direction": "next"} | ({"next_page_cursor": cursor} if cursor else {})
        answer = await api.get(name, query=query)
        pagination = mapping(mapping(mapping(answer).get("data")).get("pagination"))
        more = pagination.get("has_next_page") is True
        return entries(answer), text_of(pagination.get("next_page_cursor")) if more else ""

    return await _all(page)


async def _all(page: Callable[[str], Awaitable[tuple[list[Any], str]]]) -> list[Any]:
    """The entries of all pages, from the first one on."""
    listed: list[Any] = []
    cursors = {""}
    cursor = ""
    while True:
        more, cursor = await page(cursor)
        listed += more
        if not cursor:
            return listed
        if cursor in cursors:
            raise Unavailable("the product's API leads from page to page in a circle")
        cursors.add(cursor)
