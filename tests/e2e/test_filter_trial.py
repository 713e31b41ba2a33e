"""A filter that is tried on recent events in a real browser."""

from __future__ import annotations

import asyncio

from playwright.async_api import expect

from tests.e2e.browsing import barriers, chrome, person, sign_in
from tests.e2e.harness import Service
from tests.patience import PATIENCE_S

LARGE = '{"data": {"total": {"$gte": 100}}}'


async def test_a_filter_shows_which_of_the_last_events_it_refuses_and_why(shared: Service) -> None:
    key = await shared.key("sieve")
    for total in (5, 500):
        sent = await shared.ask("POST", "/v1/events", {"type": "order.paid", "data": {"total": total}}, key=key)
        assert sent.status == 202, sent
    async with asyncio.timeout(PATIENCE_S):
        while len((await shared.ask("GET", "/v1/events", key=key)).body["data"]) < 2:
            await asyncio.sleep(0.2)
    async with chrome() as browser, person(browser) as page:
        await sign_in(page, shared.api_url, key)
        await page.goto(f"{shared.api_url}/ui/t/sieve/live/events")
        await page.get_by_role("link", name="Try a filter").click()
        await page.get_by_label("Filter").fill(LARGE)
        await page.get_by_role("button", name="Try").click()
        result = page.locator("#trial-result")
        await expect(result).to_contain_text("1 of 2 events match")
        await expect(result.get_by_role("row").filter(has_text="refused")).to_contain_text(
            "data.total is 5, and not at least 100"
        )
        assert not await barriers(page)
