"""Connections to receivers through the operator's proxy, with CONNECT.

The rules:

- The egress guard has judged the name and its addresses before; the proxy is asked for an address, never for a name,
  so it cannot be led to another one than the one that was judged.
- A fault of the proxy is no fault of a receiver: `Hindered`. Such a proxy cannot be reached, does not answer, refuses
  the credentials, or does not speak HTTP.
- A proxy also answers 5xx when it cannot reach the receiver, and is silent while it tries. The receiver is at fault if
  the answer names it (`Proxy-Status`, `X-Squid-Error`), or if the proxy has opened another tunnel within the last
  minute. Otherwise the proxy is at fault: no endpoint should pay for a proxy without an uplink.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from aiohttp import ClientConnectorCertificateError

from app.adapters.http.egress_guard import BlockedAddress
from app.adapters.http.hindrances import hindrance
from app.adapters.http.outcomes import CONNECT_ERRORS
from app.adapters.http.pool import Origin
from app.adapters.http.wire import HttpConnection
from app.core.egress_proxy import ProxyAddress, ProxyExceptions
from app.core.errors import Hindered
from app.ports.dependencies import Dependency

#: bytes of the proxy's answer
_MAX_HEAD = 16_384
#: addresses of one receiver that are tried
_MAX_TRIES = 3
#: seconds for which a tunnel proves that the proxy works
_PROOF_S = 60.0
_STATUS = re.compile(rb"HTTP/1\.[01] +([1-5][0-9][0-9])(?: ([^\r\n]*))?\r?\n")
#: what proxies say when the receiver cannot be reached: RFC 9209, and Squid
_RECEIVER = re.compile(
    rb"^(?:proxy-status:.*\berror=\"?(?:dns_|destination_|connection_|tls_)"
    rb"|x-squid-error: *err_(?:connect_fail|dns_fail|cannot_forward))",
    re.IGNORECASE | re.MULTILINE,
)
_SMOKESCREEN = re.compile(rb"^x-smokescreen-error: *([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class _ReceiverUnreachable(OSError):
    """The proxy works, and cannot reach the receiver."""


class Destination(NamedTuple):
    """One address of a receiver."""

    family: int
    host: str


class EgressProxy:
    """Connects to receivers through one proxy."""

    def __init__(self, address: ProxyAddress, exceptions: ProxyExceptions, status: Dependency | None = None) -> None:
        """`status` gets the result of each tunnel."""
        self._address = address
        self._exceptions = exceptions
        self._status = status
        self._proved_s = float("-inf")

    def covers(self, host: str, port: int) -> bool:
        """Whether connections to this host go through the proxy."""
        return not self._exceptions.cover(host, port)

    async def connect(
        self,
        origin: Origin,
        destinations: Sequence[Destination],
        check: Callable[[int, tuple[Any, ...]], None],
        context: ssl.SSLContext,
    ) -> HttpConnection:
        """A connection to the first of a receiver's addresses that `check` permits and the proxy reaches.

        Raises `Hindered` for faults of the proxy, and what a direct connection would raise otherwise. A cancellation,
        such as that of a time-out, closes the connection; `raise_late` says afterwards whom to blame.
        """
        failure: OSError = BlockedAddress(errno.EACCES, "The name has no address.")
        for family, host in destinations[:_MAX_TRIES]:
            try:
                check(family, (host, origin.port))
                transport = await self.open(host, origin.port)
            except (BlockedAddress, _ReceiverUnreachable) as error:
                failure = error
                continue
            try:
                return await _converted(transport, origin, context)
            except BaseException:
                transport.abort()
                raise
        raise failure

    async def open(self, host: str, port: int) -> asyncio.Transport:
        """A tunnel to an address: a transport that has read nothing. Raises `OSError` and `Hindered`."""
        loop = asyncio.get_running_loop()
        try:
            transport, opening = await loop.create_connection(_Opening, self._address.host, self._address.port)
        except CONNECT_ERRORS as error:
            raise hindrance(error, ()) or self._down(f"cannot be reached: {error}") from error
        try:
            transport.write(self._request(host, port))
            self._judge(await opening.head)
        except BaseException:
            transport.abort()
            raise
        self._proved_s = loop.time()
        if self._status is not None:
            self._status.up()
        return transport

    def raise_late(self) -> None:
        """A tunnel was not opened in time: raise `Hindered` unless the proxy was seen to work."""
        if not self._works():
            raise self._down("does not answer in time")

    def _works(self) -> bool:
        return asyncio.get_running_loop().time() - self._proved_s < _PROOF_S

    def _request(self, host: str, port: int) -> bytes:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"host: {place}"]
        if self._address.authorization:
            lines.append(f"proxy-authorization: {self._address.authorization}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _judge(self, head: bytes | None) -> None:
        """Return if the answer opens a tunnel."""
        status = None if head is None else _STATUS.match(head)
        if head is None or status is None:
            raise self._down("closed the connection, or its answer is no HTTP")
        code, words = int(status[1]), f"{status[1].decode()} {(status[2] or b'').decode('latin-1')}".strip()
        smokescreen = _SMOKESCREEN.search(head)
        if 200 <= code < 300:
            return
        if code == 403 or smokescreen:
            why = smokescreen[1].decode("latin-1").strip().rstrip(".") if smokescreen else words
            raise BlockedAddress(errno.EACCES, f"The egress proxy does not permit this destination: {why}.")
        if code >= 500 and (_RECEIVER.search(head) or self._works()):
            raise _ReceiverUnreachable(errno.ECONNABORTED, f"the egress proxy cannot reach the receiver ({words})")
        raise self._down(f"answers {words}")

    def _down(self, what: str) -> Hindered:
        reason = f"the egress proxy {self._address.host}:{self._address.port} {what}"
        if self._status is not None:
            self._status.down(reason)
        return Hindered("proxy", reason)


async def _converted(transport: asyncio.Transport, origin: Origin, context: ssl.SSLContext) -> HttpConnection:
    """The HTTP connection on a tunnel, with TLS for https."""
    loop = asyncio.get_running_loop()
    wire = HttpConnection(loop)
    if origin.tls:
        try:
            upgraded = await loop.start_tls(
                transport, wire, context, server_hostname=(origin.template.url.raw_host or "").rstrip(".")
            )
        except ssl.CertificateError as error:
            raise ClientConnectorCertificateError(origin.template.connection_key, error) from error
        assert upgraded is not None
        wire.connection_made(upgraded)
    else:
        transport.set_protocol(wire)
        wire.connection_made(transport)
        transport.resume_reading()
    return wire


class _Opening(asyncio.Protocol):
    """Collects the head of the proxy's answer."""

    def __init__(self) -> None:
        self._data = bytearray()
        #: the answer's head; None: it ended, or is no such head
        self.head: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if self.head.done():
            return
        if end >= 0:
            self._transport.pause_reading()  # what follows belongs to the tunnel
            clean = len(self._data) == end + 4  # the receiver speaks second, so nothing follows
            self.head.set_result(bytes(self._data) if clean or not self._opens() else None)
        elif len(self._data) > _MAX_HEAD:
            self.head.set_result(None)

    def _opens(self) -> bool:
        status = _STATUS.match(self._data)
        return status is not None and status[1].startswith(b"2")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.head.done():
            self.head.set_result(None)
