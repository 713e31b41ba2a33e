"""Decides which connections of an HTTP listener stay open, from their addresses, states and times.

Rules of this file
- A connection is *waiting* (for a request, or for the rest of its head) or *busy* (a handler runs).
- At the limit, the connection that has waited longest is closed for a new one. Busy ones are never closed for others.
- If all are busy, a new connection is admitted to the *reserve*: it may send one request, for a probe.
- Every state but busy has a deadline, and so has a client that does not read its response.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Literal

import msgspec

Admitted = Literal["served", "reserve", "refused"]
Overdue = Literal["head_timeout", "idle", "unread"]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Maximum numbers of connections, and deadlines in seconds."""

    total: int = 2000
    #: connections of one address; 0: no limit
    per_address: int = 500
    #: further connections beyond `total`, for probes
    reserve: int = 32
    #: for a complete request head, counted from its first byte; for the first head, from the accept
    head_s: float = 10.0
    #: between two requests; longer than proxies keep their connections (nginx: 60 s)
    idle_s: float = 75.0
    #: for a client that does not read its response
    unread_s: float = 30.0


class _Entry(msgspec.Struct):
    address: str
    reserve: bool
    #: beginning of the current state
    since: float
    #: arrival of the first byte of the next head; None: no byte has arrived
    head_since: float | None = None
    busy: bool = False
    served: bool = False
    unread_since: float | None = None


class ConnectionBook:
    """The open connections by number. All times are arguments, in seconds of one clock."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._all: dict[int, _Entry] = {}
        self._of_address: dict[str, int] = {}
        #: waiting connections, the one that waits longest first: of all addresses, and of each address
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._waiting_of: dict[str, OrderedDict[int, None]] = {}
        self._reserve: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def open(self, number: int, address: str, now: float) -> tuple[Admitted, list[int]]:
        """How a new connection is admitted, and the numbers of connections to close for it."""
        limits, source = self.limits, source_of(address)
        closed: list[int] = []
        full = bool(limits.per_address) and self._of_address.get(source, 0) >= limits.per_address
        if full:
            closed += self._evict(self._waiting_of.get(source))
            full = not closed
        if not full and len(self._all) - len(self._reserve) >= limits.total:
            closed += self._evict(self._waiting)
            full = not closed
        if full and len(self._reserve) >= limits.reserve:
            waiting = next((each for each in self._reserve if not self._all[each].busy), None)
            if waiting is None:
                return "refused", closed
            self.close(waiting)
            closed.append(waiting)
        self._all[number] = _Entry(address=source, reserve=full, since=now)
        if full:
            self._reserve[number] = None
        else:
            self._of_address[source] = self._of_address.get(source, 0) + 1
            self._wait(number, source)
        return "reserve" if full else "served", closed

    def close(self, number: int) -> None:
        """Remove a connection that was closed."""
        entry = self._all.pop(number, None)
        if entry is None:
            return
        self._reserve.pop(number, None)
        self._wait_no_more(number, entry.address)
        if not entry.reserve:
            self._of_address[entry.address] -= 1
            if not self._of_address[entry.address]:
                del self._of_address[entry.address]

    def make_room(self) -> list[int]:
        """The number of the connection to close when descriptors run out: the one that has waited longest."""
        return self._evict(self._waiting)

    def received(self, number: int, now: float) -> None:
        """Note that bytes arrived."""
        entry = self._all.get(number)
        if entry is not None and not entry.busy and entry.head_since is None:
            entry.head_since = now

    def began(self, number: int, now: float) -> Admitted:
        """Note that a complete head has arrived and its handler begins. Returns how the connection was admitted."""
        entry = self._all.get(number)
        if entry is None:
            return "served"
        entry.busy, entry.since, entry.head_since = True, now, None
        self._wait_no_more(number, entry.address)
        return "reserve" if entry.reserve else "served"

    def ended(self, number: int, now: float) -> None:
        """Note that the handler has ended; the response may still be in transit."""
        entry = self._all.get(number)
        if entry is None:
            return
        entry.busy, entry.served, entry.since, entry.head_since = False, True, now, None
        if not entry.reserve:
            self._wait(number, entry.address)

    def unread(self, number: int, now: float | None) -> None:
        """Note since when the client has not read its response; None: it reads."""
        entry = self._all.get(number)
        if entry is not None:
            entry.unread_since = now

    def overdue(self, now: float) -> list[tuple[int, Overdue]]:
        """Connections past a deadline, with the reason for closing them."""
        overdue: list[tuple[int, Overdue]] = []
        for number, entry in self._all.items():
            reason = self._reason(entry, now)
            if reason is not None:
                overdue.append((number, reason))
        return overdue

    def _reason(self, entry: _Entry, now: float) -> Overdue | None:
        limits = self.limits
        if entry.unread_since is not None and now - entry.unread_since >= limits.unread_s:
            return "unread"
        if entry.busy:
            return None
        begun = entry.head_since if entry.served else entry.since
        if begun is not None and now - begun >= limits.head_s:
            return "head_timeout"
        return "idle" if now - entry.since >= limits.idle_s else None

    def _evict(self, waiting: OrderedDict[int, None] | None) -> list[int]:
        if not waiting:
            return []
        number = next(iter(waiting))
        self.close(number)
        return [number]

    def _wait(self, number: int, address: str) -> None:
        self._waiting[number] = None
        self._waiting_of.setdefault(address, OrderedDict())[number] = None

    def _wait_no_more(self, number: int, address: str) -> None:
        self._waiting.pop(number, None)
        same = self._waiting_of.get(address)
        if same is not None:
            same.pop(number, None)
            if not same:
                del self._waiting_of[address]


def source_of(address: str) -> str:
    """The key for the limit per address: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64" if not parsed.is_loopback else str(parsed)
    return str(parsed)
