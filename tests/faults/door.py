"""Who has no key, at the API's door: silence, halves of requests, and bodies that grow when they are read. Bounded."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from random import Random
from urllib.parse import urlsplit

#: connections at once
CONNECTIONS = 120
LASTS_S = 6.0
_BOMB = gzip.compress(b"%41" * 700_000)


async def at_the_door(base: str, dice: Random) -> None:
    """Connections of all kinds, held for some seconds."""
    where = urlsplit(base)
    assert where.hostname is not None and where.port is not None
    kinds = [dice.choice(_KINDS) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(_visit(where.hostname, where.port, said) for said in kinds))


async def _visit(host: str, port: int, said: bytes) -> None:
    with suppress(OSError, TimeoutError):  # it may be closed at any time: that is the service's right
        reader, writer = await asyncio.open_connection(host, port)
        try:
            async with asyncio.timeout(LASTS_S):
                writer.write(said)
                await writer.drain()
                while await reader.read(4096):
                    pass
        finally:
            writer.close()


def _post(path: str, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_FORM = "Content-Type: application/x-www-form-urlencoded"
_KINDS = (
    b"",
    b"GET /",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-half: ",
    b"\x16\x03\x01\x02\x00" + b"\xff" * 200,
    _post("/ui/sign-in", _FORM, body=b"token=", length=1_000_000),
    _post("/ui/sign-in", _FORM, "Content-Encoding: gzip", body=_BOMB),
    _post("/v1/events", "Content-Type: application/json", "Content-Encoding: gzip", body=_BOMB),
    _post("/ui/sign-in", _FORM, body=b"a&" * 2000),
    b"GET /v1/webhooks?" + b"a&" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
)
