"""A server of others, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.patience import PATIENCE_S


@asynccontextmanager
async def server_process(port: int, *module: str, env: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """Run a module with its arguments as long as the context; it accepts connections on `port` when the body begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *module),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, f"{module[0]} has ended"
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        await process.wait()
