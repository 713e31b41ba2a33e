"""Read server-sent events from a response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec

from app.core.errors import Unavailable

#: bytes of one message at most: an event of the largest size that a service may take
MAX_MESSAGE = 16 * 1024 * 1024


class SseMessage(msgspec.Struct, frozen=True):
    """One message; one without data only moves the id."""

    id: str
    event: str
    data: bytes


class SseParser:
    """Turns chunks of bytes into messages. Fields other than id, event and data are ignored, as are comments."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._id = ""

    def feed(self, chunk: bytes) -> Iterator[SseMessage]:
        """The messages that are complete with this chunk. Raises `Unavailable` for a message that is too large."""
        self._rest += chunk
        while (end := self._rest.find(b"\n\n")) >= 0:
            block = bytes(self._rest[:end])
            del self._rest[: end + 2]
            yield self._message(block)
        if len(self._rest) > MAX_MESSAGE:
            raise Unavailable(f"the stream has a message of more than {MAX_MESSAGE:,} bytes")

    def _message(self, block: bytes) -> SseMessage:
        event, data = "", []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode("utf-8", "replace")
            elif name == b"id":
                self._id = value.decode("utf-8", "replace")
        return SseMessage(self._id, event, b"\n".join(data))


async def messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[SseMessage]:
    """The messages of a response's body, until it ends."""
    parser = SseParser()
    async for chunk in chunks:
        for message in parser.feed(chunk):
            yield message
