"""The dashboard in a real browser, from the first sign-in to a customer's portal; and nothing that shuts people out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from tests.e2e.browsing import barriers, chrome, person, sign_in
from tests.e2e.harness import PORTAL_ORIGIN, Service
from tests.patience import PATIENCE_S

EVENT = '{"id": 7, "email": "<b>a@example.com</b>"}'


class Receiver:
    """A customer's receiver that is broken until it is repaired."""

    def __init__(self) -> None:
        self.url = ""
        self.broken = True
        self.requests: list[web.Request] = []
        self._arrived = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        if self.broken:
            return web.Response(status=500, text="<script>alert('it broke')</script>")
        return web.Response(text="thank you")

    async def got(self, number: int) -> None:
        """Wait for that many requests in all."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= number)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_post("/hooks", made.answer)
    async with TestServer(application, host="127.0.0.1") as running:
        made.url = str(running.make_url("/hooks"))
        yield made


async def seen(page: Page, text: str | re.Pattern[str]) -> None:
    """The page's content says it."""
    await expect(page.get_by_role("main")).to_contain_text(text)


async def followed(page: Page, selector: str, text: str) -> None:
    """The read model follows by a moment: look again until an element has the text."""
    async with asyncio.timeout(PATIENCE_S):
        while not await page.locator(selector, has_text=text).count():
            await page.wait_for_timeout(150)
            await page.reload()


async def test_from_the_first_sign_in_to_a_customers_portal(shared: Service) -> None:
    async with receiver() as customer, chrome() as browser, person(browser) as page:
        await sign_in(page, shared.api_url)
        tenant = f"{shared.api_url}/ui/t/shop/live"
        await page.get_by_role("link", name="Tenants", exact=True).click()
        await register(page)
        await create_endpoint(page, tenant, customer)
        endpoint = page.url
        await send_test(page, customer)
        await see_it_fail_and_retry(page, tenant, customer)
        await rotate_pause_and_resume(page, endpoint, customer)
        await replay(page, customer)
        await page.goto(f"{tenant}/audit")
        for change in ("created the endpoint", "rotated the secret", "started a replay"):
            await followed(page, "main", change)
        await search_all_tenants(page, shared, customer, endpoint)
        portal = (await shared.ask("POST", "/v1/portal-links", key=await shared.key("shop"))).body["url"]
        async with person(browser) as visitor:
            await visit_portal(visitor, portal, customer)


async def register(page: Page) -> None:
    await page.get_by_label("Id", exact=True).fill("shop")
    await page.get_by_label("Name", exact=True).fill("Shop")
    await page.get_by_role("button", name="Register").click()
    await seen(page, "Saved.")


async def create_endpoint(page: Page, tenant: str, customer: Receiver) -> None:
    await page.goto(f"{tenant}/overview")
    await page.get_by_role("link", name="Create an endpoint").click()
    await page.get_by_role("textbox", name="URL", exact=True).fill(customer.url)
    await page.get_by_label("Description").fill("<i>orders</i>")
    await page.get_by_text("all events (*)").click()
    await page.get_by_text("More settings").click()
    await page.get_by_label("Seconds before each attempt").fill("0, 3600")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.locator("#secret")).to_have_text(re.compile("^whsec_"))
    await page.get_by_role("link", name="Endpoints", exact=True).first.click()
    await page.get_by_role("link", name=customer.url).click()
    await seen(page, "<i>orders</i>")
    assert await page.locator("#secret").count() == 0, "the secret is shown once"


async def send_test(page: Page, customer: Receiver) -> None:
    await expect(page.locator("#test-payload")).not_to_have_value("")
    for word in ("The receiver failed", "The receiver has accepted it"):
        await page.get_by_role("button", name="Send test").click()
        await expect(page.locator("#test-outcome")).to_contain_text(word)
        await seen(page, "it broke" if customer.broken else "thank you")
        customer.broken = not customer.broken
    customer.broken = True
    assert len(customer.requests) == 2


async def see_it_fail_and_retry(page: Page, tenant: str, customer: Receiver) -> None:
    await page.goto(f"{tenant}/events/new?type=user.created")
    await page.get_by_label("Data, as JSON").fill(EVENT)
    await page.get_by_role("button", name="Send").click()
    await customer.got(3)
    await followed(page, "#tail-rows .chip", "retrying")
    await page.get_by_role("link", name="user.created").click()
    await seen(page, "The receiver failed")
    await page.get_by_text("Response", exact=True).click()
    await seen(page, "<script>alert('it broke')</script>")
    customer.broken = False
    await page.get_by_role("button", name="Retry now").click()
    await seen(page, "One more attempt was requested.")
    await customer.got(4)
    await followed(page, "main .head .chip", "delivered")
    await seen(page, re.compile(r"2\. Delivered"))
    await page.locator("dl a code").first.click()
    await seen(page, "The endpoint subscribes to the event's type")
    await seen(page, "<b>a@example.com</b>")


async def rotate_pause_and_resume(page: Page, endpoint: str, customer: Receiver) -> None:
    await page.goto(endpoint)
    await page.get_by_role("button", name="Rotate secret").click()
    await page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    await expect(page.locator("#secret")).to_have_text(re.compile("^whsec_"))
    await expect(page.locator("[data-countdown]").first).to_have_text(re.compile(r"\(.*\d"))
    await page.get_by_role("button", name="Pause").click()
    await seen(page, "Paused.")
    await page.get_by_role("button", name="Resume").click()
    await seen(page, "Resumed.")


async def replay(page: Page, customer: Receiver) -> None:
    before = len(customer.requests)
    await page.get_by_role("link", name="Replay…").click()
    await page.get_by_text("all events", exact=True).click()
    await page.get_by_role("button", name="Count").click()
    await seen(page, "1 delivery would be made")
    await page.get_by_role("button", name="Replay 1 delivery").click()
    await customer.got(before + 1)
    await expect(page.locator('[data-replay-state="done"]')).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


async def search_all_tenants(page: Page, shared: Service, customer: Receiver, endpoint: str) -> None:
    await page.goto(f"{shared.api_url}/ui/overview")
    await expect(page.get_by_role("region", name="Tenants by traffic").get_by_role("link", name="Shop")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type(customer.url)
    await page.keyboard.press("Enter")
    await page.get_by_role("main").get_by_role("link", name=customer.url).click()
    await page.wait_for_url(endpoint.partition("?")[0])


async def visit_portal(page: Page, portal: str, customer: Receiver) -> None:
    await page.goto(portal)
    await page.get_by_role("link", name="Endpoints", exact=True).click()
    await page.get_by_role("link", name=customer.url).click()
    await page.get_by_role("button", name="Send test").click()
    await expect(page.locator("#test-outcome")).to_contain_text("The receiver has accepted it")
    assert not await page.context.cookies()
    assert await page.get_by_text("Tenants").count() == 0


async def test_the_live_list_shows_new_deliveries(shared: Service) -> None:
    key = await shared.key("tail")
    async with receiver() as customer, chrome() as browser, person(browser) as page:
        customer.broken = False
        made = await shared.ask("POST", "/v1/webhooks", {"url": customer.url, "events": "*"}, key=key)
        assert made.status == 201, made
        await sign_in(page, shared.api_url, key)
        await page.goto(f"{shared.api_url}/ui/t/tail/live/deliveries?type=ping")
        async with page.expect_response(lambda answer: answer.url.endswith("/deliveries/live")):
            await page.get_by_role("checkbox", name="live").check()
        rows = page.locator("#tail-rows tr")
        async with asyncio.timeout(PATIENCE_S):
            while not await rows.count():  # what the sampler's first look shows is no news, and nobody sees that look
                for event_type in ("user.created", "ping"):
                    body = {"type": event_type, "data": {"a": 1}}
                    assert (await shared.ask("POST", "/v1/events", body, key=key)).status == 202
                await page.wait_for_timeout(500)
        assert all("ping" in row for row in await rows.all_inner_texts())


#: on a phone: a header of several rows, tables that scroll sideways, and labels that run into the next cell
_DESKTOP_PARTS = """() => [
  ...[...document.querySelectorAll("header.top")].filter((each) => each.offsetHeight > 60),
  ...[...document.querySelectorAll(".table")].filter((each) => each.scrollWidth > each.clientWidth),
  ...[...document.querySelectorAll("td[data-label]:not(:first-child)")].filter(
    (each) => parseFloat(getComputedStyle(each, "::before").height) > each.offsetHeight),
].map((each) => each.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
async def test_every_page_is_accessible(shared: Service, look: str) -> None:
    key = await shared.key("open")
    made = await shared.ask("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/x", "events": "*"}, key=key)
    endpoint = made.body["id"]
    size = {"width": 375, "height": 800} if look == "phone" else {"width": 1280, "height": 860}
    scheme = "dark" if look == "dark" else "light"
    async with chrome() as browser, person(browser, viewport=size, color_scheme=scheme) as page:
        await page.goto(f"{shared.api_url}/ui/sign-in")
        assert not await barriers(page)
        await sign_in(page, shared.api_url)
        scoped = [
            "overview",
            "endpoints",
            "endpoints/new",
            f"endpoints/{endpoint}",
            f"endpoints/{endpoint}/verify",
            "deliveries",
            "dead",
            "replays",
            "replays/new",
            "event-types",
            "event-types/ping",
            "events",
            "events/new",
            "filters",
            "audit",
            "declare-event-type",
        ]
        for path in [
            "overview",
            "search?q=open",
            "tenants",
            "tenants/open",
            "events",
            "operations",
            "event-types",
            "declare-event-type",
            *(f"t/open/live/{each}" for each in scoped),
        ]:
            await page.goto(f"{shared.api_url}/ui/{path}")
            assert not await barriers(page), path
            width = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert width <= 0, f"{path} is wider than the window"
            if look == "phone":
                assert not await page.evaluate(_DESKTOP_PARTS), f"{path} looks like on a desktop"


async def test_all_pages_can_be_used_with_the_keyboard(shared: Service) -> None:
    key = await shared.key("keys")
    async with chrome() as browser, person(browser) as page:
        await sign_in(page, shared.api_url, key)
        await page.keyboard.press("Tab")
        await expect(page.get_by_text("Skip to the content")).to_be_focused()
        await page.keyboard.press("g")
        await page.keyboard.press("e")
        await page.wait_for_url("**/endpoints")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.get_by_label("Switch between light and dark").click()
        theme = await page.evaluate("document.documentElement.dataset.theme")
        await page.reload()
        assert await page.evaluate("document.documentElement.dataset.theme") == theme == "dark"


async def test_the_portal_works_in_a_frame_of_an_allowed_page_and_the_dashboard_in_none(shared: Service) -> None:
    key = await shared.key("framed")
    portal = (await shared.ask("POST", "/v1/portal-links", key=key)).body["url"]
    frames = f'<iframe name="portal" src="{portal}"></iframe><iframe name="ui" src="{shared.api_url}/ui"></iframe>'
    async with chrome() as browser:
        for origin, shown in ((PORTAL_ORIGIN, True), ("http://127.0.0.1:9", False)):
            page = await browser.new_page()
            await page.route(f"{origin}/", lambda route: route.fulfill(content_type="text/html", body=frames))
            await page.goto(f"{origin}/")
            portal_frame, ui = page.frame("portal"), page.frame("ui")
            assert portal_frame is not None and ui is not None
            if shown:
                await expect(portal_frame.get_by_role("heading", name="Overview")).to_be_visible()
                await portal_frame.get_by_role("link", name="Endpoints", exact=True).click()
                await expect(portal_frame.get_by_role("link", name="Create an endpoint")).to_be_visible()
            await page.wait_for_load_state("load")
            assert "chrome-error" in ui.url and ("chrome-error" in portal_frame.url) is not shown
            await page.close()
