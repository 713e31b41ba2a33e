"""One HTTP connection: finds the end of a response's head and passes the head to aiohttp's C parser as a whole.

The rules:

- The head (status line and headers) is collected until it is complete, up to `MAX_HEAD` bytes, and parsed at once. So
  the result does not depend on how the bytes were split into segments.
- If the parser refuses a head with a valid status line, the head is read leniently: the status counts, as for curl and
  Go, and the connection is closed.
- Errors after the head (a body with a wrong length or wrong chunks, or a body where none is allowed) do not change the
  status. They are noted in `remark`, and the connection is closed.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from app.adapters.http.outcomes import NETWORK_ERRORS, HeadTooLarge, NoAnswer

#: Informational responses (1xx) before the final one.
MAX_INTERIM = 8
#: Bytes of status line and headers.
MAX_HEAD = 65_536
#: The head may consist of one long header or of many short ones; a header has at least four bytes.
_MOST_HEADERS = MAX_HEAD // 4

EXCESS = "More bytes came than the answer announces; the connection was closed."
BROKEN = "The body is not framed as its headers announce; the connection was closed."
MALFORMED = "The answer's headers are malformed; its body was not read, and the connection was closed."

_HEAD_END = re.compile(rb"\n\r?\n")
_BEGINNING = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([1-9][0-9][0-9])(?: [^\r\n]*)?")


class HttpConnection(ResponseHandler):
    """aiohttp's protocol, which also records whether bytes arrived and whether the deadline passed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        #: a byte arrived since the connection was last idle
        self.received = False
        self.expired = False
        #: loop time at which it became idle
        self.idle_since = 0.0
        #: a sentence about an unusual response; None: it was regular
        self.remark: str | None = None
        #: the head so far, and the number of its bytes that were searched for its end
        self._head = bytearray()
        self._searched = 0
        self._in_head = True
        #: True if no byte may follow the head
        self._bodiless = False

    def begin(self) -> None:
        """Reset the state before a request is written: bytes from now on are its response."""
        self._head.clear()
        self._searched = 0
        self._in_head = True
        self._bodiless = False
        self.remark = None

    def accept(self, bufsize: int) -> None:
        """Configure the parser of a fresh connection; `bufsize`: bytes of a body that may be buffered."""
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=bufsize,
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=_MOST_HEADERS,
        )

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; aiohttp also calls this with none, to continue parsing."""
        if data:
            self.received = True
            if self._in_head:
                self._collect(data)
                return
            if self._bodiless:
                self._overrun()
                return
        super().data_received(data)

    def _collect(self, data: bytes) -> None:
        """Collect the head of the response; bytes after it go to the parser."""
        head = self._head
        head += data
        while self._in_head:
            while head[:1] and head[0] in b"\r\n":  # perhaps left from an earlier body
                del head[0]
            end = _HEAD_END.search(head, max(0, self._searched - 2))
            if not _BEGINNING.startswith(head[: len(_BEGINNING)]):
                self._refuse(NoAnswer(message="no HTTP/1 answer"))
            elif (end.end() if end else len(head)) > MAX_HEAD:
                self._refuse(HeadTooLarge(message=f"more than {MAX_HEAD} bytes of headers"))
            elif end is None:
                self._searched = len(head)
                return
            else:
                whole = bytes(head[: end.end()])
                del head[: end.end()]
                self._searched = 0
                self._parse(whole)
        if head and self._bodiless:
            self._overrun()
        elif head:
            super().data_received(bytes(head))
        head.clear()

    def _parse(self, head: bytes) -> None:
        """Parse a complete head and queue its message."""
        message: RawResponseMessage | None = None
        payload: StreamReader = EMPTY_PAYLOAD
        try:
            messages, self._upgraded, _ = self._parser.feed_data(head)  # type: ignore[union-attr]
            if messages:
                message, payload = messages[-1]
        except Exception:  # the parser does not document its exceptions
            message = None
        if message is None:
            message = _lenient(head)
            if message is None:
                self._refuse(NoAnswer(message="the status line cannot be read"))
                return
            self.remark = MALFORMED
        if message.should_close:
            self._should_close = True
        self._payload = payload
        if not 100 <= message.code < 200 or message.code == 101:
            self._in_head = False
            self._bodiless = payload is EMPTY_PAYLOAD and not self._upgraded
        self.feed_data((message, payload), 0)

    def _overrun(self) -> None:
        self._should_close = True
        self.remark = self.remark or EXCESS

    def _refuse(self, error: HttpProcessingError) -> None:
        if self.transport is not None:
            self.transport.close()
        self._head.clear()
        self._in_head, self._bodiless = False, True
        self.set_exception(error)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Fail the exchange, including a body that is being read; aiohttp lets it wait if its framing is wrong."""
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof():
            if body.exception() is None:
                body.set_exception(exc)
            self._loop.call_soon(_wake, body)

    async def answer(self) -> tuple[RawResponseMessage, StreamReader]:
        """The head of the final response, and the reader of its body; informational responses are skipped."""
        for _ in range(MAX_INTERIM + 1):
            message, payload = await self.read()
            if not 100 <= message.code < 200 or message.code == 101:
                return message, payload
        raise HttpProcessingError(message="too many informational answers")

    async def body(self, payload: StreamReader, cap: int) -> tuple[bytes, bool]:
        """The body up to `cap` bytes, and whether it is incomplete: longer than that, or broken off."""
        if payload is EMPTY_PAYLOAD:
            return b"", False
        if payload.is_eof() and not self.expired:  # it arrived together with the head: the usual, cheap case
            whole = b"".join(payload._buffer)
            self._notice_excess()
            return whole[:cap], len(whole) > cap
        chunks: list[bytes] = []
        size = 0
        try:
            while size <= cap and not payload.at_eof():
                chunks.append(await payload.readany())
                size += len(chunks[-1])
            self._notice_excess()
        except NETWORK_ERRORS as error:
            if isinstance(error, HttpProcessingError):
                self.remark = self.remark or BROKEN
            chunks.extend(payload._buffer)
            size = cap + 1
        return b"".join(chunks)[:cap], size > cap or self.expired

    def _notice_excess(self) -> None:
        """Note bytes after a complete body, which the parser took for another message or refused."""
        if self._buffer or isinstance(self.exception(), HttpProcessingError):
            self._overrun()

    def expire(self) -> None:
        """Abort the exchange because its deadline passed."""
        self.expired = True
        self.cut()

    def cut(self) -> None:
        """Close at once, so that a waiting `answer` or `body` ends. aiohttp's own abort would leave a body waiting."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def clean(self) -> bool:
        """The response was read to its end, the request was sent completely, and the peer keeps the connection open."""
        transport = self.transport
        return (
            transport is not None
            and not self.should_close
            and not self.expired
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )


def _wake(body: StreamReader) -> None:
    """Raise the body's error in a waiting reader. aiohttp checks for it only before the first wait.

    Otherwise the reader would wait for ever if the end of a chunk and invalid bytes arrive in one segment.
    """
    error = body.exception()
    if error is not None and body._waiter is not None:
        body.set_exception(error)


def _lenient(head: bytes) -> RawResponseMessage | None:
    """The message of a head that the parser refuses, with its valid header lines; None without a status line."""
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        return None
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            headers.add(name.strip().decode("utf-8", "replace"), value.strip().decode("utf-8", "replace"))
    return RawResponseMessage(
        HttpVersion11, int(status[1]), "", CIMultiDictProxy(headers), (), True, None, False, False
    )
