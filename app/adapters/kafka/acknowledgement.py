"""Callbacks that settle a future with the offset or the error of an append."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.core.errors import HookstreamError


def resolver(future: asyncio.Future[int]) -> Callable[[int], None]:
    def acked(offset: int) -> None:
        if not future.done():
            future.set_result(offset)

    return acked


def rejecter(future: asyncio.Future[int]) -> Callable[[HookstreamError], None]:
    def failed(error: HookstreamError) -> None:
        if not future.done():
            future.set_exception(error)

    return failed
