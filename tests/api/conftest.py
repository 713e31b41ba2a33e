"""A served API and dashboard with one endpoint, for tests that do not make their own stage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.dashboard.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as opened:
        opened.endpoint()
        yield opened
