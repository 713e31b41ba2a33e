"""A real Chromium that looks at the dashboard; what it complains about fails the test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.e2e.harness import ADMIN_TOKEN
from tests.patience import PATIENCE_S

_AXE = (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: what axe-core calls grave enough
_GRAVE = ("serious", "critical")
#: milliseconds that a page may take for anything; playwright's own 5 and 30 seconds judge by the clock
_PATIENCE_MS = PATIENCE_S * 1000

expect.set_options(timeout=_PATIENCE_MS)


def chromium() -> str:
    """Where it is; `make setup` installs it."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "Chromium is needed for the dashboard's tests: `make setup`, or your system's package `chromium`"
    return found


@asynccontextmanager
async def chrome() -> AsyncIterator[Browser]:
    """One browser for several people."""
    async with async_playwright() as playwright:
        # as root there is no sandbox, and a container's /dev/shm is small
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        # pages that a test makes up count as public ones, which may not show what is on this machine
        options.append("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests")
        browser = await playwright.chromium.launch(executable_path=chromium(), args=options)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def person(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """Somebody's own window; errors on its console, broken scripts and refused content fail the test."""
    context = await browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 860}), **options)
    page = await context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    try:
        yield page
        assert not complaints, complaints
    finally:
        await context.close()


async def sign_in(page: Page, url: str, token: str = ADMIN_TOKEN) -> None:
    """Fill in the form."""
    await page.goto(f"{url}/ui")
    await page.get_by_label("Token or key").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda each: "sign-in" not in each)


async def barriers(page: Page) -> list[str]:
    """What keeps people out of this page, as axe-core finds it: serious and critical ones."""
    await page.evaluate(_AXE)
    found = await page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes']][:3]}"
        for each in found["violations"]
        if each["impact"] in _GRAVE
    ]
