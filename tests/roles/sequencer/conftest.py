"""The stage of the sequencer's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.roles.sequencer.sequencer_stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    running = Stage()
    yield running
    await running.stop()
