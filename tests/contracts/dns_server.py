"""A name server on loopback that answers by a table, is silent, is slow, or lies."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Sequence

A, NS, CNAME, AAAA = 1, 2, 5, 28
NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5


class Silent:
    """No answer."""


class Slow:
    """The answer after so many seconds."""

    def __init__(self, seconds: float, address: str) -> None:
        self.seconds = seconds
        self.address = address


class Alias:
    """A CNAME."""

    def __init__(self, target: str) -> None:
        self.target = target


#: addresses (given in turn, the last for ever), an error code, silence, …
Entry = Sequence[Sequence[str]] | int | Silent | Slow | Alias


class NameServer:
    """Listens on UDP and TCP of one port from `async with` on; names without an entry do not exist."""

    def __init__(self, entries: dict[str, Entry], *, root: Entry = ((),), ttl: int = 60) -> None:
        self.entries = entries
        #: what is said of `.`
        self.root = root
        self.ttl = ttl
        #: name → questions for its IPv4 address
        self.asked: Counter[str] = Counter()
        self.over_tcp = 0
        self._pending: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> NameServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._tcp.sockets[0].getsockname()[1]
        outer = self

        class Udp(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
                outer._later(data, lambda answer: self.transport.sendto(answer, peer), 512)  # type: ignore[attr-defined]

        self._udp, _ = await loop.create_datagram_endpoint(Udp, local_addr=("127.0.0.1", port))
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                data = await reader.readexactly(length)
                self.over_tcp += 1
                self._later(data, lambda answer: writer.write(struct.pack(">H", len(answer)) + answer), 65_535)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _later(self, data: bytes, send: object, most: int) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(data, send, most))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _answer(self, data: bytes, send: object, most: int) -> None:
        name, kind, end = _question(data)
        entry = self.root if name == "" else self.entries.get(name, NXDOMAIN)
        if kind == A:
            self.asked[name] += 1
        if isinstance(entry, Silent):
            return
        if isinstance(entry, Slow):
            await asyncio.sleep(entry.seconds)
            entry = [[entry.address]]
        code = entry if isinstance(entry, int) else 0
        records = [] if isinstance(entry, int) else self._records(name, kind, entry)
        answer = _header(data, code, len(records), cut=False) + data[12:end] + b"".join(records)
        if len(answer) > most:
            answer = _header(data, code, 0, cut=True) + data[12:end]
        send(answer)  # type: ignore[operator]

    def _records(self, name: str, kind: int, entry: Sequence[Sequence[str]] | Alias) -> list[bytes]:
        if isinstance(entry, Alias):
            record = _record(name, CNAME, self.ttl, _name(entry.target))
            following = self.entries.get(entry.target, ((),))
            if isinstance(following, int | Silent | Slow):
                return [record]
            return [record, *self._records(entry.target, kind, following)]
        if kind not in (A, AAAA):
            return []
        turns = list(entry)
        answers = turns[min(self.asked[name] - 1 if self.asked[name] else 0, len(turns) - 1)]
        family = socket.AF_INET if kind == A else socket.AF_INET6
        return [
            _record(name, kind, self.ttl, socket.inet_pton(family, each))
            for each in answers
            if (":" in each) is (kind == AAAA)
        ]


def _question(data: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += data[at] + 1
    (kind,) = struct.unpack(">H", data[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, at + 5


def _header(data: bytes, code: int, answers: int, *, cut: bool) -> bytes:
    flags = 0x8180 | code | (0x0200 if cut else 0)
    return data[:2] + struct.pack(">HHHHH", flags, 1, answers, 0, 0)


def _record(name: str, kind: int, ttl: int, value: bytes) -> bytes:
    return _name(name) + struct.pack(">HHIH", kind, 1, ttl, len(value)) + value


def _name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
