"""Read what clients send within bounds: heads, bodies before and after decoding, forms. The parser decodes nothing.

Rules of this file
- A body is read after its sender was judged, into memory that was reserved for it, and not beyond the route's bound.
- Bytes are counted after decoding, as they come out of the decoder.
- Strangers may not compress anything.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from aiohttp import web

from app.api.problems import ApiError

#: for the next bytes of a body
_NEXT_S = 10.0
#: a body waits that long for memory
_RESERVE_S = 10.0
_HOST = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_CLOSE = {"Connection": "close"}
_GZIP = 16 + zlib.MAX_WBITS


class BodyMemory:
    """Limits the bytes of request bodies in memory, in total and for each tenant."""

    def __init__(self, total: int = 128 * 1024 * 1024, share: int = 32 * 1024 * 1024) -> None:
        self._total = total
        self._share = share
        self._used = 0
        self._of: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    @asynccontextmanager
    async def reserved(self, account: str, size: int) -> AsyncIterator[None]:
        """Reserve bytes for an account; requests of one account wait in order. Raises `ApiError` 503."""
        if account in self._waiting or not self._fits(account, size):
            await self._wait(account, size)
        else:
            self._take(account, size)
        try:
            yield
        finally:
            self._take(account, -size)
            self._grant()

    async def _wait(self, account: str, size: int) -> None:
        line = self._waiting.setdefault(account, deque())
        place = (size, asyncio.get_running_loop().create_future())
        line.append(place)
        try:
            async with asyncio.timeout(_RESERVE_S):
                await place[1]
        except BaseException as error:
            if place in line:
                line.remove(place)
            if place[1].done() and not place[1].cancelled():  # its memory came as it gave up
                self._take(account, -size)
            if not line and self._waiting.get(account) is line:
                del self._waiting[account]
            self._grant()
            if isinstance(error, TimeoutError):
                detail = "too many large requests of this tenant are in progress"
                raise ApiError(503, "busy", detail, headers={"Retry-After": "1"} | _CLOSE) from error
            raise

    def _grant(self) -> None:
        for account, line in list(self._waiting.items()):
            while line and (line[0][1].done() or self._fits(account, line[0][0])):
                size, future = line.popleft()
                if not future.done():
                    self._take(account, size)
                    future.set_result(None)
            if not line:
                del self._waiting[account]

    def _fits(self, account: str, size: int) -> bool:
        return self._used + size <= self._total and self._of.get(account, 0) + size <= self._share

    def _take(self, account: str, size: int) -> None:
        self._used += size
        self._of[account] = self._of.get(account, 0) + size
        if not self._of[account]:
            del self._of[account]


def check_head(request: web.Request) -> None:
    """Raise `ApiError` 400 for paths and queries that handlers cannot process."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (hosts and not _HOST.fullmatch(hosts[0])):
        raise ApiError(400, "bad_host", "Host: one host, with or without a port")
    try:
        _ = request.query, request.cookies, request.content_type, request.content_length
    except ValueError as error:
        raise ApiError(400, "bad_request", "the query or a header cannot be read") from error


def size_of(request: web.Request, most: int) -> int:
    """The memory that a body may take. Raises `ApiError` 413."""
    if not request.body_exists:
        return 0
    length = request.content_length
    if length is not None and length > most:
        raise _too_large(most)
    return most if length is None or request.headers.get("Content-Encoding") else length


async def read_body(request: web.Request, most: int, *, coded: bool, whole_s: float = 60.0) -> bytes:
    """The whole body, decoded where `coded` allows gzip. Raises `ApiError` 400, 408, 413 and 415."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        decoder = None
    elif coded and encoding in ("gzip", "x-gzip"):
        decoder = zlib.decompressobj(_GZIP)
    else:
        allowed = "gzip or none" if coded else "none"
        raise ApiError(415, "content_encoding", f"Content-Encoding: {allowed} is understood here", headers=_CLOSE)
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(whole_s):
            return await _collect(request, most, decoder)
    except TimeoutError as error:
        raise ApiError(408, "too_slow", "the body came too slowly", headers=_CLOSE) from error
    except (web.RequestPayloadError, zlib.error) as error:
        detail = "the body is not what its headers say"
        raise ApiError(400, "unreadable", detail, headers=_CLOSE) from error


async def _collect(request: web.Request, most: int, decoder: zlib._Decompress | None) -> bytes:
    body = bytearray()
    while True:
        async with asyncio.timeout(_NEXT_S):
            chunk = await request.content.readany()
        if not chunk:
            break
        body += chunk if decoder is None else decoder.decompress(chunk, most + 1 - len(body))
        if len(body) > most:
            raise _too_large(most)
        if decoder is not None and decoder.unused_data:
            raise zlib.error("there is more behind its end")
    if decoder is not None and not decoder.eof and (body or request.content.total_bytes):
        raise zlib.error("it ends too early")
    return bytes(body)


def read_form(raw: bytes, most_fields: int) -> Mapping[str, Sequence[str]]:
    """Every value of every field. Raises `ApiError` 413."""
    if raw.count(b"&") >= most_fields:
        raise ApiError(413, "too_large", f"a form has at most {most_fields} fields")
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"):
        form.setdefault(name, []).append(value)
    return form


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"the body of such a request has at most {most} bytes", headers=_CLOSE)
