"""Requests about groups on a cluster that no group has used: the first one creates the topic of offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import GroupCoordinatorNotAvailableError

T = TypeVar("T")

_TRIES = 10
_PAUSE_S = 0.5


async def with_coordinator(request: Callable[[], Awaitable[T]]) -> T:
    """The answer to a request about a group; repeated for some seconds while the group has no coordinator."""
    for _ in range(_TRIES - 1):
        try:
            return await request()
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(_PAUSE_S)
    return await request()
