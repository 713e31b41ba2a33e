"""Limits concurrent expensive operations: one at a time for each tenant, and tenants take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api.problems import ApiError


class Turnstile:
    """The turns of one process."""

    def __init__(self, what: str, *, at_once: int, wait_s: float, line: int = 100) -> None:
        """`what`: the operation, for messages. At most `line` tenants wait, each for at most `wait_s` seconds."""
        self._what = what
        self._free = at_once
        self._wait_s = wait_s
        self._most = line
        self._running: set[str] = set()
        self._line: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait for a turn. Raises `ApiError` 429 if the account has one already, and 503 after `wait_s`."""
        if account in self._running:
            detail = f"another {self._what} of this tenant is in progress"
            raise ApiError(429, "busy", detail, headers={"Retry-After": "2"})
        self._running.add(account)
        try:
            await self._enter(account)
            try:
                yield
            finally:
                self._free += 1
                self._next()
        finally:
            self._running.discard(account)

    async def _enter(self, account: str) -> None:
        if self._free and not self._line:
            self._free -= 1
            return
        if len(self._line) >= self._most:
            raise self._busy()
        future = self._line[account] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_s):
                await future
        except BaseException as error:
            self._line.pop(account, None)
            if future.done() and not future.cancelled():  # its turn came as it gave up
                self._free += 1
                self._next()
            if isinstance(error, TimeoutError):
                raise self._busy() from error
            raise

    def _next(self) -> None:
        while self._free and self._line:
            _, future = self._line.popitem(last=False)
            if not future.done():
                self._free -= 1
                future.set_result(None)

    def _busy(self) -> ApiError:
        detail = f"too many are waiting for a {self._what}: try again in a few seconds"
        return ApiError(503, "busy", detail, headers={"Retry-After": "5"})
