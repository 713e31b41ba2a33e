"""The parts that a process has opened, closed in reverse order even after an incomplete start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from inspect import isawaitable
from typing import Any

import structlog

logger = structlog.get_logger(__name__)

Open = Callable[[], Awaitable[None] | None]
#: closes a part, within a time of its own; False: something had to be left behind
Close = Callable[[], Awaitable[bool | None] | bool | None]
_CANCEL_S = 5.0


class Parts:
    """Opens parts one after the other."""

    def __init__(self) -> None:
        self._open: list[tuple[str, Close]] = []
        self._clean = True

    async def open(self, name: str, start: Open, close: Close) -> None:
        """Start a part. `close` closes it later, also when its start fails or is cancelled half-way."""
        self._open.append((name, close))
        starting = start()
        if starting is not None:
            await starting

    async def close(self) -> bool:
        """Close all that is open, the newest first; False when a part, now or earlier, was not closed in order."""
        while self._open:
            name, close = self._open.pop()
            try:
                closing = close()
                closed = await closing if isawaitable(closing) else closing
            except Exception as error:
                logger.error("process.part_not_closed", part=name, error=repr(error))
                closed = False
            self._clean = self._clean and closed is not False
        return self._clean


class Tasks:
    """Work beside the roles: loops that run until they are stopped."""

    def __init__(self, works: Callable[[], Sequence[Coroutine[Any, Any, None]]]) -> None:
        self._works = works
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(work) for work in self._works()]

    async def stop(self) -> bool:
        """Cancel all and wait (bounded); False when one did not end in time."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return True
        _, left = await asyncio.wait(self._tasks, timeout=_CANCEL_S)
        return not left
