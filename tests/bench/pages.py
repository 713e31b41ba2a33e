"""What whole pages of the dashboard take beside many attempts: asked of a running API, with a session's cookie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec

from app.adapters.sql.database import Database
from tests.bench.readmodel_lists import Answer, id_of, timed
from tests.bench.stage import Stage
from tests.dashboard.stage import hidden
from tests.e2e.harness import ADMIN_TOKEN, Service, service

_TENANT = "t0"
_ENDPOINTS = 100
_HOME = f"/ui/t/{_TENANT}/live"
#: a delivery of the endpoint whose event is in Kafka
_SHOWN = 500


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one database."""

    database: str
    attempts: int
    answers: dict[str, Answer]


async def measure(stage: Stage, url: str | None, folder: Path, attempts: int, said: Callable[[str], None]) -> Pages:
    """Every page that shows what the read model has, of the tenant whose rows are in it already."""
    settings = {"HOOKSTREAM_LOG_LEVEL": "error", "HOOKSTREAM_PARTITIONS": "1"} | (
        {"HOOKSTREAM_DATABASE_URL": url} if url else {}
    )
    async with service(
        stage.bootstrap, f"pages{'p' if url else 's'}.", folder, settings, ("registry", "api")
    ) as running:
        endpoint, event = await _furnish(running)
        database = Database(url, folder)
        try:
            await _adopt(database, endpoint, event)
        finally:
            await database.close()
        async with aiohttp.ClientSession(running.api_url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            await _sign_in(browser)
            paths = _paths(endpoint, event)
            answers = {name: await timed(lambda at=at: _look(browser, at)) for name, at in paths.items()}  # type: ignore[misc]
    name = "PostgreSQL" if url else "SQLite"
    said(f"{name}: {len(answers)} pages")
    return Pages(database=name, attempts=attempts, answers=answers)


async def _furnish(running: Service) -> tuple[str, str]:
    """The tenant's endpoints and one event; the ids of the first endpoint and of the event."""
    key = await running.key(_TENANT)
    made = []
    for number in range(_ENDPOINTS):
        body = {"url": f"http://127.0.0.1:9/{number}", "events": ["*"]}
        answer = await running.ask("POST", "/v1/webhooks", body, key=key)
        assert answer.status == 201, answer
        made.append(answer.body["id"])
    event = await running.ask("POST", "/v1/events", {"type": "recording.5", "data": {"n": 5}}, key=key)
    return made[0], event.body["id"]


async def _adopt(database: Database, endpoint: str, event: str) -> None:
    """The rows of one made-up endpoint are those of the real one, and one of them is of the real event."""
    async with database.writing() as connection:
        for table in ("deliveries", "hours"):
            await connection.exec_driver_sql(
                f"UPDATE {table} SET endpoint_id = '{endpoint}' WHERE endpoint_id = 'ep_0'"
            )
        await connection.exec_driver_sql(
            f"UPDATE deliveries SET event_id = '{event}', source_partition = 0, source_offset = 0 "
            f"WHERE id = '{id_of(_SHOWN)}'"
        )


async def _sign_in(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/ui/sign-in") as answer:
        form = {"knock": hidden(await answer.text(), "knock"), "token": ADMIN_TOKEN}
    async with browser.post("/ui/sign-in", data=form, headers={"Origin": str(answer.url.origin())}) as answer:
        assert answer.status == 200, f"{answer.status}: {await answer.text()}"


def _paths(endpoint: str, event: str) -> dict[str, str]:
    deliveries = f"{_HOME}/deliveries"
    return {
        "all tenants": "/ui/overview",
        "search": "/ui/search?q=recording",
        "tenants": "/ui/tenants",
        "overview": f"{_HOME}/overview",
        "100 endpoints": f"{_HOME}/endpoints",
        "endpoint": f"{_HOME}/endpoints/{endpoint}",
        "deliveries": deliveries,
        "deliveries of an endpoint": f"{deliveries}?endpoint={endpoint}",
        "deliveries, dead": f"{deliveries}?state=dead",
        "deliveries by type and status": f"{deliveries}?type=recording.*&status=5xx",
        "delivery": f"{deliveries}/{id_of(_SHOWN)}",
        "event": f"{_HOME}/events/{event}",
        "dead letters": f"{_HOME}/dead",
        "event types": f"{_HOME}/event-types",
        "replays": f"{_HOME}/replays",
        "replay, new": f"{_HOME}/replays/new",
        "audit": f"{_HOME}/audit",
        "operations": "/ui/operations",
    }


async def _look(browser: aiohttp.ClientSession, path: str) -> None:
    async with browser.get(path, allow_redirects=False) as answer:
        text = await answer.text()
    assert answer.status == 200 and "sign-out" in text, f"{path}: {answer.status}\n{text[:2000]}"
