"""A small HTTP/1.1 server protocol for the demo receiver: one request at a time, and misbehaviour on demand."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal, cast

import msgspec

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 16 * 1024 * 1024

_GARBAGE = b"220 receiver.example ESMTP ready\r\n"
_SLOPPY = b'HTTP/1.1 204 No Content\r\n\r\n{"received":true}'
_FILLER = b"x" * 65_536


class ReceivedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One complete request."""

    method: str
    #: the path as sent, without the query
    path: str
    query: str
    #: names in lower case; the last value of a repeated header
    headers: dict[str, str]
    body: bytes


class ReceiverAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request, or the misbehaviour in its place."""

    #: 0: no status line is sent
    status: int = 200
    body: bytes = b'{"received":true}'
    #: further header lines
    headers: tuple[tuple[str, str], ...] = ()
    #: seconds to wait before the answer
    after_s: float = 0
    #: the misbehaviour in place of an answer with `body`
    trick: Literal["hang", "reset", "garbage", "bigbody", "sloppy"] | None = None
    #: the body's size for `bigbody`
    size_bytes: int = 0
    close: bool = False


ReceiverHandler = Callable[[ReceivedRequest], ReceiverAnswer]


class ReceiverProtocol(asyncio.Protocol):
    """One connection. Requests are answered in order; while one is open, further bytes wait in the buffer."""

    def __init__(self, handle: ReceiverHandler, connections: set[ReceiverProtocol]) -> None:
        self._handle = handle
        self._connections = connections
        self._buffer = b""
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        #: unwritten bytes of a big body
        self._owed = 0
        self._paused = False
        self.transport: asyncio.Transport
        connections.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._connections.discard(self)
        self._owed = 0
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Abort the connection, if its transport exists already."""
        if hasattr(self, "transport"):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Buffer bytes, and answer complete requests."""
        self._buffer += data
        self._serve()

    def pause_writing(self) -> None:
        """Pause writing: the client reads slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """Resume writing: the client has caught up."""
        self._paused = False
        if self._owed:
            self._pay()
            self._serve()

    def _serve(self) -> None:
        """Answer every request that is complete, until one keeps the connection busy."""
        while not self._busy and self._buffer and not self.transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    self._send(_problem(431))
                return
            try:
                method, path, query, headers = _read_head(self._buffer[:end])
                length = _body_length(headers)
            except ValueError:
                self._send(_problem(400))
                return
            if length > MAX_BODY_BYTES:
                self._send(_problem(413))
                return
            if len(self._buffer) < end + 4 + length:
                self._encourage(headers, first=len(self._buffer) == end + 4)
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            answer = self._handle(ReceivedRequest(method=method, path=path, query=query, headers=headers, body=body))
            if headers.get("connection", "").lower() == "close":
                answer = msgspec.structs.replace(answer, close=True)
            self._perform(answer)

    def _encourage(self, headers: dict[str, str], *, first: bool) -> None:
        if first and headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _perform(self, answer: ReceiverAnswer) -> None:
        if answer.after_s:
            self._busy = True
            later = msgspec.structs.replace(answer, after_s=0)
            self._timer = asyncio.get_running_loop().call_later(answer.after_s, self._resume, later)
        elif answer.trick == "hang":
            self._busy = True
        elif answer.trick == "reset":
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif answer.trick == "garbage":
            self.transport.write(_GARBAGE)
            self.transport.close()
        else:
            self._send(answer)

    def _resume(self, answer: ReceiverAnswer) -> None:
        self._timer = None
        self._busy = False
        self._perform(answer)
        self._serve()

    def _send(self, answer: ReceiverAnswer) -> None:
        if answer.trick == "bigbody":
            self.transport.write(_render(answer, answer.size_bytes))
            self._owed = answer.size_bytes
            self._pay()
            return
        if answer.trick == "sloppy":
            self.transport.write(_SLOPPY)
            return
        self.transport.write(_render(answer, len(answer.body)) + answer.body)
        if answer.close:
            self.transport.close()

    def _pay(self) -> None:
        """Continue writing a big body while the client reads it."""
        while self._owed and not self._paused and not self.transport.is_closing():
            piece = _FILLER[: self._owed]
            self._owed -= len(piece)
            self.transport.write(piece)
        self._busy = self._owed > 0


def _read_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Method, path, query and headers. Raises `ValueError` for anything but a request."""
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, version = line.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise ValueError(field)
        headers[name.lower()] = value.strip()
    return method, path, query, headers


def _body_length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise ValueError("only bodies with a content-length are read")
    text = headers.get("content-length", "0")
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _problem(status: int) -> ReceiverAnswer:
    return ReceiverAnswer(status=status, body=b'{"received":false}', close=True)


def _render(answer: ReceiverAnswer, length: int) -> bytes:
    reason = HTTPStatus(answer.status).phrase if answer.status in _STATUSES else "Status"
    lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    if answer.close:
        lines += "connection: close\r\n"
    head = f"HTTP/1.1 {answer.status} {reason}\r\ncontent-type: application/json\r\n"
    return f"{head}{lines}content-length: {length}\r\n\r\n".encode("latin-1")


_STATUSES = frozenset(HTTPStatus)
