"""The stage of these tests, and the browsers of a tenant and of the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.dashboard.stage import KEYS, OPERATOR, Browser, Stage, browser, open_stage


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as opened:
        yield opened


@pytest_asyncio.fixture
async def acme(stage: Stage) -> AsyncIterator[Browser]:
    async with browser(stage, KEYS["acme", "live"]) as somebody:
        yield somebody


@pytest_asyncio.fixture
async def operator(stage: Stage) -> AsyncIterator[Browser]:
    async with browser(stage, OPERATOR) as somebody:
        yield somebody
