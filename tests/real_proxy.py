"""A proxy of others, in a process of its own: proxy.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.ports import free_port
from tests.server_process import server_process


@asynccontextmanager
async def real_proxy(*options: str, port: int = 0) -> AsyncIterator[int]:
    """Listens as long as the context; its port, `port` if that is given."""
    port = port or free_port()
    options = ("--num-workers", "1", "--num-acceptors", "1", "--log-level", "error", *options)
    async with server_process(port, "proxy", "--hostname", "127.0.0.1", "--port", str(port), *options):
        yield port
