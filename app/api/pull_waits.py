"""How many requests and streams of pull endpoints may be open in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from app.api.problems import ApiError

#: of one process, tenant and key, requests and streams together
MAX_OPEN, MAX_OF_TENANT, MAX_OF_KEY = 200, 50, 20


class PullWaits:
    """The open requests of one process."""

    def __init__(self) -> None:
        self._count: Counter[tuple[str, str]] = Counter()
        self._stopping = asyncio.Event()

    def open(self) -> int:
        """How many are open."""
        return self._count["process", ""]

    @property
    def stopping(self) -> bool:
        """Whether the process stops, and waits end at once."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End all waits."""
        self._stopping.set()

    async def wait(self, awaited: Coroutine[Any, Any, bool]) -> None:
        """Return when `awaited` has returned, or the process stops."""
        waits = [asyncio.ensure_future(awaited), asyncio.ensure_future(self._stopping.wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        for each in done:
            each.result()

    @contextmanager
    def place(self, tenant: str, key: str) -> Iterator[None]:
        """Hold a place. Raises `ApiError` 429 if all are taken."""
        accounts = {("process", ""): MAX_OPEN, ("tenant", tenant): MAX_OF_TENANT, ("key", key): MAX_OF_KEY}
        if any(self._count[account] >= most for account, most in accounts.items()):
            detail = (
                f"at most {MAX_OF_KEY} pulling requests of a key, {MAX_OF_TENANT} of a tenant and {MAX_OPEN} of a "
                "process at the same time"
            )
            raise ApiError(429, "too_many_pulls", detail, headers={"Retry-After": "5"})
        self._count.update(accounts.keys())
        try:
            yield
        finally:
            self._count.subtract(accounts.keys())
            self._count = +self._count
