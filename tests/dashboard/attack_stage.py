"""What attacks on the dashboard share: three tenants' worlds, the pages and their addresses, and a portal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from app.core.model.replay import Replay
from app.dashboard.server.routes import SCREENS, PageRoute
from tests.dashboard.stage import KEYS, Stage, browser, open_stage

SCRIPT = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}"
LIVE = "/ui/t/acme/live"


@asynccontextmanager
async def attacked_stage() -> AsyncIterator[Stage]:
    """A dashboard with an endpoint and a replay for each tenant and mode."""
    async with open_stage() as found:
        for tenant, mode, id_ in (("acme", "live", "ep_1"), ("acme", "test", "ep_2"), ("other", "live", "ep_3")):
            found.endpoint(tenant, mode, id_)  # type: ignore[arg-type]
            found.feed.directory.put_replay(replay(tenant, mode, f"rpl_{id_}"))
        yield found


def replay(tenant: str, mode: Any, id_: str) -> Replay:
    return Replay(
        id=id_, tenant=tenant, mode=mode, endpoint_id="", reason="replay", begin={0: 0}, end={0: 9}, state="running"
    )


def address(entry: PageRoute, base: str, id_: str = "ep_1") -> str:
    """An entry's path with its placeholders filled in."""
    name = f"rpl_{id_}" if entry.path.startswith("/replays/") else id_
    path = entry.path.replace("{id}", name).replace("{name}", "ping").replace("{key}", "key_1")
    return base + re.sub(r"\{action:(\w+)[^}]*\}", r"\1", path)


def entries(*reaches: str, method: str = "") -> Iterator[PageRoute]:
    return (each for each in SCREENS if each.reach in reaches and method in ("", each.method))


async def portal_of(stage: Stage, key: str = KEYS["acme", "live"], **body: Any) -> str:
    """The path of a portal link, made through the API."""
    async with browser(stage) as somebody:
        headers = {"authorization": f"Bearer {key}"}
        async with somebody.http.post(f"{stage.url}/v1/portal-links", json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            url: str = (await answer.json())["url"]
    assert url.startswith(stage.url + "/portal/")
    return url.removeprefix(stage.url)
