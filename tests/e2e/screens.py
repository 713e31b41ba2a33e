"""Take the pictures in docs/screens: `python -m tests.e2e.screens URL TOKEN`, of a `hookstream up --demo`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.browsing import chrome, person, sign_in

FOLDER = Path(__file__).parents[2] / "docs" / "screens"
TENANT = "demo-bota"


class Api:
    """The operator, who stands for the demo's tenant."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; its answer."""
        headers = {"authorization": f"Bearer {self.token}", "hookstream-tenant": TENANT}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, self.url + path, json=body) as answer,
        ):
            return await answer.json()


async def fill(api: Api) -> str:
    """Endpoints that fail in several ways, and events for them; the first one's id."""
    demo = (await api.ask("GET", "/v1/webhooks"))["data"][0]
    for fault, description, events in (
        ("status:500", "Billing", ["summary.*"]),
        ("status:404", "Data warehouse", ["device.*"]),
        ("200", "Notifications", ["recording.*", "transcription.*"]),
    ):
        url = f"{demo['url']}/{description.lower().replace(' ', '-')}?fault={fault}"
        body = {"url": url, "events": events, "description": description, "schedule": [0, 1]}
        await api.ask("POST", "/v1/webhooks", body)
    types = ("recording.created", "recording.uploaded", "summary.completed", "device.offline", "summary.failed")
    for number in range(60):
        event_type = types[number % len(types)]
        example = (await api.ask("GET", f"/v1/event-types/{event_type}"))["example"]
        await api.ask("POST", "/v1/events", {"type": event_type, "data": example})
    while (await api.ask("GET", "/v1/deliveries?state=retrying"))["data"]:
        await asyncio.sleep(0.5)
    return str(demo["id"])


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 375, "height": 780}, "device_scale_factor": 2},
}
#: look → the pictures that documents show
SHOTS = {
    "light": ("all-tenants", "overview", "deliveries", "dead-letters"),
    "dark": ("overview", "endpoint"),
    "phone": ("overview", "deliveries"),
}


async def main(url: str, token: str) -> None:
    """All of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    endpoint = await fill(Api(url, token))
    base = f"/ui/t/{TENANT}/live"
    pages = {
        "all-tenants": "/ui/overview",
        "overview": f"{base}/overview",
        "endpoint": f"{base}/endpoints/{endpoint}",
        "deliveries": f"{base}/deliveries?since=1h",
        "dead-letters": f"{base}/dead",
    }
    async with chrome() as browser:
        for look, names in SHOTS.items():
            async with person(browser, **LOOKS[look]) as page:
                await sign_in(page, url, token)
                for name in names:
                    await page.goto(url + pages[name])
                    await page.wait_for_timeout(400)
                    await page.screenshot(path=FOLDER / f"{name}-{look}.png")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
