"""A served API, and commands that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.api.server.rate_limits import CallLimits
from app.cli.connect import process_context
from tests.cli.configuration.runs import Commands
from tests.dashboard.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as opened:
        opened.server.limits = CallLimits(1_000_000, 1_000_000)  # the clock stands still
        yield opened


@pytest.fixture
async def commands(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HOOKSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    process_context.settings.cache_clear()
    return Commands(stage, tmp_path)
