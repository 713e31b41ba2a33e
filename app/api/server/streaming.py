"""Write a stream of server-sent events to a client, within a time limit for each frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

from aiohttp import web

from app.api.problems import ApiError
from app.core.model.event_types import is_pattern

#: a client that takes no bytes for so long is disconnected
WRITE_S = 15.0
#: event types of one stream
_MAX_PATTERNS = 50
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": "hookstream",
}


class FrameSource(Protocol):
    """The frames of one client."""

    def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames, until the stream ends."""
        ...

    def close(self) -> None:
        """The client has left."""
        ...


def patterns_of(text: str | None) -> list[str]:
    """The event types that a stream is narrowed to; all without the parameter. Raises `ApiError` 400."""
    if text is None:
        return ["*"]
    patterns = [each.strip() for each in text.split(",")]
    if len(patterns) > _MAX_PATTERNS or not all(map(is_pattern, patterns)):
        detail = f"types: at most {_MAX_PATTERNS} event types such as user.created, or prefixes such as user.*"
        raise ApiError(400, "invalid_query", detail)
    return patterns


async def write_stream(
    request: web.Request, subscription: FrameSource, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a request with the frames of a subscription, and close the connection after the last one."""
    response = web.StreamResponse(headers={**_HEADERS, **headers})
    response.force_close()
    try:
        async with aclosing(subscription.frames()) as frames:
            await response.prepare(request)
            async for frame in frames:
                async with asyncio.timeout(WRITE_S):
                    await response.write(frame)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionResetError:
        pass  # the client has left
    finally:
        subscription.close()
    return response


def frame_of(name: str, document: bytes, id_: str | None) -> bytes:
    """A frame of server-sent events. Line breaks in a document are whitespace between its tokens."""
    lines = document.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    head = b"" if id_ is None else b"id: %b\n" % id_.encode()
    return head + b"event: %b\n%b\n" % (name.encode(), b"".join(b"data: %b\n" % line for line in lines))
