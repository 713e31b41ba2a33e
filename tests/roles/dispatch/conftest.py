"""A running dispatch worker for the tests of the role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.roles.dispatch.dispatch_stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()
