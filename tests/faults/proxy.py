"""A TCP proxy that can cut, delay and swallow: the network between the service and its Kafka."""

from __future__ import annotations

import asyncio
import contextlib

_CHUNK = 64 * 1024


class Proxy:
    """Forwards every connection to one address, as well as its switches let it."""

    def __init__(self, host: str, port: int, upstream_port: int) -> None:
        self._address = (host, port)
        self._upstream = (host, upstream_port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        #: seconds that every piece of data takes, each way
        self.delay_s = 0.0
        #: cleared: what arrives is held back, and new connections are refused
        self.connected = asyncio.Event()
        self.connected.set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, *self._address)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections that there are."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.connected.is_set():
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        for source, target in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self.connected.wait()
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(RuntimeError):  # the loop may be closing
                writer.close()
