"""A raw TCP server whose connections follow a script, for receivers that do what no HTTP library would."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

Script = Callable[["Conversation"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Conversation:
    """One connection, seen from the receiver."""

    def __init__(self, server: FaultServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self.reader = reader
        self._writer = writer
        self.number = server.connections

    async def head(self) -> bytes:
        """The next request's line and headers; raises IncompleteReadError when the peer has left."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self._server.requests.append(head)
        return head

    async def request(self, piece: int = 65_536) -> bytes:
        """The next request, head and body, read `piece` bytes at a time; raises IncompleteReadError at the end."""
        head = await self.head()
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = b""
        while len(body) < length:
            body += await self.reader.read(min(piece, length - len(body)))
        self._server.requests[-1] = head + body
        return head + body

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def until_gone(self) -> None:
        """Wait until the peer closes."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class FaultServer:
    """Listens on a loopback address from `async with` on; counts connections and keeps every request's bytes."""

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, receive_buffer: int = 0
    ) -> None:
        self._script = script
        self._host = host
        self._tls = tls
        self._receive_buffer = receive_buffer
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        #: set when the first connection has ended
        self.ended = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/hook"

    async def __aenter__(self) -> FaultServer:
        listener = socket.create_server((self._host, 0))
        if self._receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self._tls, backlog=512)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            await self._script(Conversation(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer left, or the test is over
        finally:
            self.ended.set()
            writer.close()


async def obliging(conversation: Conversation) -> None:
    """Answer every request with 200."""
    while True:
        await conversation.request()
        await conversation.say(OK)


def answering(*pieces: bytes, stay: bool = True) -> Script:
    """Answer one request with these writes; then wait for the peer to leave, or close."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(*pieces)
        if stay:
            await conversation.until_gone()

    return script
