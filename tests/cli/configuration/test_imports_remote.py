"""Exports from addresses: against servers that answer as the products' documents describe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from app.adapters.http import foreign_api
from tests.cli.configuration import svix_export
from tests.cli.configuration.runs import Commands, Result
from tests.dashboard.stage import Stage
from tests.integration.test_api_client import stub

Answer = Callable[[str, dict[str, str]], Any]


@asynccontextmanager
async def product(answer: Answer) -> AsyncIterator[str]:
    """A server that answers GET with JSON; None: 404."""

    async def handle(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer key-of-the-product"
        body = answer(request.path, dict(request.query))
        if isinstance(body, web.Response):
            return body
        return web.json_response(body) if body is not None else web.json_response({"detail": "no"}, status=404)

    async with stub(handle) as url:
        yield url


async def fetched(commands: Commands, name: str, url: str) -> Result:
    key = commands.write("product.key", "key-of-the-product\n")
    return await commands("import", name, url, "--source-key-file", str(key), "--to", str(commands.folder / "out"))


async def test_svix_is_read_page_by_page(stage: Stage, commands: Commands) -> None:
    endpoints = {f"ep_{number:027d}": svix_export.endpoint(number) for number in range(1, 8)}
    throttled = [web.Response(status=429, headers={"Retry-After": "0"})]

    def answer(path: str, query: dict[str, str]) -> Any:
        if throttled:
            return throttled.pop()
        match path.strip("/").split("/")[2:]:
            case ["app"]:
                return {"data": [{"id": "app_1", "uid": "acme", "metadata": {}}], "done": True, "iterator": None}
            case ["app", "app_1", "endpoint"]:
                begin = int(query.get("iterator", "0"))
                some = [_bare(each) for each in endpoints.values()][begin : begin + 3]
                return {"data": some, "done": begin + 3 >= len(endpoints), "iterator": str(begin + 3)}
            case ["app", "app_1", "endpoint", id_, ("secret" | "headers") as what]:
                return endpoints[id_][what]
        return None

    async with product(answer) as url:
        done = await fetched(commands, "svix", url)
    assert done.code == 0 and done.out.startswith("7 of 7 endpoints carried over"), done.err
    assert (await commands("apply", "-f", str(commands.folder / "out"))).code == 0
    first = stage.feed.directory.endpoint_named("acme", "live", "customer-1")
    assert first is not None
    assert stage.ring.open(first.secrets[0], first.secret_owner) == svix_export.endpoint(1)["secret"]["key"]


def _bare(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name not in ("secret", "headers")}


async def test_convoy_is_read_page_by_page(commands: Commands) -> None:
    def answer(path: str, query: dict[str, str]) -> Any:
        page = int(query.get("next_page_cursor", "0"))
        pagination = {"per_page": 1, "has_next_page": page < 2, "next_page_cursor": str(page + 1)}
        content: dict[str, Any]
        match path.rsplit("/", 1)[1]:
            case "endpoints":
                content = {"uid": f"e{page}", "owner_id": "acme", "url": f"https://e{page}.example", "status": "active"}
            case "subscriptions":
                content = {"uid": f"s{page}", "endpoint_metadata": {"uid": f"e{page}"}, "filter_config": {}}
            case _:
                return None
        return {"status": True, "message": "", "data": {"content": [content], "pagination": pagination}}

    async with product(answer) as url:
        done = await fetched(commands, "convoy", f"{url}/api/v1/projects/01P")
    assert done.code == 0 and done.out.startswith("3 of 3 endpoints carried over"), done.err


async def test_outpost_is_read_tenant_by_tenant(commands: Commands) -> None:
    destination: dict[str, Any] = {"id": "d", "type": "webhook", "topics": "*", "config": {"url": "https://a.example"}}

    def answer(path: str, query: dict[str, str]) -> Any:
        if path == "/api/v1/tenants":
            last = query.get("next") == "b"
            return {"models": [{"id": "two" if last else "one"}], "pagination": {"next": None if last else "b"}}
        return (
            [destination] if path in ("/api/v1/tenants/one/destinations", "/api/v1/tenants/two/destinations") else None
        )

    async with product(answer) as url:
        done = await fetched(commands, "outpost", f"{url}/api/v1")
    assert done.code == 0 and done.out.startswith("2 of 2 endpoints carried over"), done.err
    assert (commands.folder / "out" / "tenants" / "two.yaml").exists()


@pytest.mark.parametrize(
    ("response", "code", "sentence"),
    [
        ({"status": 401, "text": "no"}, 3, "answers 401: no"),
        ({"status": 302, "headers": {"Location": "https://evil.example"}}, 3, "answers 302"),
        ({"status": 200, "text": "<html>"}, 4, "answers something that is not JSON"),
        ({"status": 200, "body": b" " * (2 * 1024 * 1024)}, 4, "answers more than 1 MiB"),
        ({"status": 200, "text": json.dumps({"models": [], "pagination": {"next": "x"}})}, 4, "in a circle"),
    ],
)
async def test_a_product_that_misbehaves_is_refused(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, response: dict[str, Any], code: int, sentence: str
) -> None:
    monkeypatch.setattr(foreign_api, "_ANSWER_BYTES", 1024 * 1024)
    async with product(lambda path, query: web.Response(**response)) as url:
        done = await fetched(commands, "outpost", url)
    assert done.code == code and sentence in done.err and "key-of-the-product" not in done.err


async def test_a_key_leaves_the_machine_encrypted_or_not_at_all(commands: Commands) -> None:
    done = await fetched(commands, "svix", "http://api.svix.example")
    assert done.code == 2 and "the key would go to api.svix.example unencrypted" in done.err
    assert (await commands("import", "svix", "https://a.example", "--to", "x")).code == 2
