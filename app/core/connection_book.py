"""Which connections of an HTTP listener stay open: a pure book of who is connected, since when, and doing what.

Rules of this file
- A connection is *waiting* (for a request, or for the rest of its head) or *busy* (a request of it is carried out).
- Where there is no room, the connection that has waited longest makes room. Busy ones are never closed for others.
- Where all are busy, a newcomer is admitted to the *reserve*: it may ask for probes alone, and only once.
- Every state but busy has a deadline, and so has a client that does not read its answer.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Literal

import msgspec

Admitted = Literal["served", "reserve", "refused"]
Overdue = Literal["head_timeout", "idle", "unread"]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers and seconds."""

    total: int = 2000
    #: of one address; 0: no limit
    per_address: int = 500
    #: beyond `total`, for probes
    reserve: int = 32
    #: for a whole request head, from the first byte; for the first one from the opening of the connection
    head_s: float = 10.0
    #: between two requests; longer than proxies keep their connections (nginx: 60 s)
    idle_s: float = 75.0
    #: for a client that takes nothing of its answer
    unread_s: float = 30.0


class _Entry(msgspec.Struct):
    address: str
    reserve: bool
    #: when the present state began
    since: float
    #: when the first byte of the next head came; None: none did
    head_since: float | None = None
    busy: bool = False
    served: bool = False
    unread_since: float | None = None


class ConnectionBook:
    """Time is an argument, in seconds; connections have numbers."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._all: dict[int, _Entry] = {}
        self._of_address: dict[str, int] = {}
        #: waiting connections, the longest first: of all, and of each address
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._waiting_of: dict[str, OrderedDict[int, None]] = {}
        self._reserve: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def open(self, number: int, address: str, now: float) -> tuple[Admitted, list[int]]:
        """How a new connection is admitted, and which others must be closed for it."""
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
        """Descriptors have run out: close the connection that has waited longest."""
        return self._evict(self._waiting)

    def received(self, number: int, now: float) -> None:
        """Bytes arrived."""
        entry = self._all.get(number)
        if entry is not None and not entry.busy and entry.head_since is None:
            entry.head_since = now

    def began(self, number: int, now: float) -> Admitted:
        """The head of a request is whole and it is carried out."""
        entry = self._all.get(number)
        if entry is None:
            return "served"
        entry.busy, entry.since, entry.head_since = True, now, None
        self._wait_no_more(number, entry.address)
        return "reserve" if entry.reserve else "served"

    def ended(self, number: int, now: float) -> None:
        """The request is finished; its answer may still be in transit."""
        entry = self._all.get(number)
        if entry is None:
            return
        entry.busy, entry.served, entry.since, entry.head_since = False, True, now, None
        if not entry.reserve:
            self._wait(number, entry.address)

    def unread(self, number: int, now: float | None) -> None:
        """Since when the client takes nothing of its answer; None: it does."""
        entry = self._all.get(number)
        if entry is not None:
            entry.unread_since = now

    def overdue(self, now: float) -> list[tuple[int, Overdue]]:
        """Connections whose time is over."""
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
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64" if not parsed.is_loopback else str(parsed)
    return str(parsed)
