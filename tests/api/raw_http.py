"""Requests byte by byte, as no client library would send them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

#: content types
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class RawAnswer(NamedTuple):
    """0: the connection was closed without one."""

    status: int
    head: bytes
    body: bytes


class RawConnection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, url: str) -> RawConnection:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def send(self, data: bytes) -> None:
        """Bytes, as far as the server takes them."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> RawAnswer:
        """The next answer."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                body = await self.reader.readexactly(int(fields.get(b"content-length", b"0")))
            except (ConnectionError, asyncio.IncompleteReadError):
                return RawAnswer(0, b"", b"")
        return RawAnswer(int(head.split(b" ", 2)[1]), head, body)

    async def is_closed(self) -> bool:
        """Return when the server has closed it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass
            return True

    def close(self) -> None:
        self.writer.close()


async def ask(url: str, request: bytes) -> RawAnswer:
    """Send bytes over a connection of their own."""
    connection = await RawConnection.to(url)
    try:
        await connection.send(request)
        return await connection.answer()
    finally:
        connection.close()


def head(method: str, path: str, *, key: str = "", length: int | None = None, **more: str) -> bytes:
    """A request's head; header names have `_` for `-`."""
    fields = {"Host": "localhost"} | {name.replace("_", "-"): value for name, value in more.items()}
    if key:
        fields["Authorization"] = f"Bearer {key}"
    if length is not None:
        fields["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
