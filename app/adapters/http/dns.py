"""Name resolution without threads: bounded, shared lookups, and detection of name servers that are down.

The rules:

- All callers that ask for the same name share one lookup, which ends when the last of them is cancelled.
- At most `LOOKUPS` lookups are active, of which at most `SHARE` belong to one registrable domain; the others wait. A
  lookup that has been active for `TURN_S` gives its place to a waiting one, so names whose servers are silent delay
  other names for no longer than that.
- Addresses are cached for their TTL, but at least 1 and at most `LONGEST_S` seconds; failures for `NEGATIVE_S`. The
  cache has at most `REMEMBERED` names; the oldest ones are dropped first.
- If a lookup gets no answer, its name or our name servers may be at fault. So the name servers are queried for the
  root. If that fails as well, DNS counts as down: lookups of names that /etc/hosts lacks raise `Hindered`, and no
  attempt is counted against the endpoint.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import pycares
from aiohttp.abc import AbstractResolver, ResolveResult
from pycares import errno as ares

from app.adapters.http.dns_channel import DnsChannel
from app.core.domains import share_of
from app.core.errors import Hindered
from app.ports.dependencies import Dependency
from app.ports.metrics import Meter

#: Addresses to try for one name; a name with a thousand dead addresses would cost a thousand connections.
MAX_ADDRESSES = 8
#: Active lookups, each with a socket; and those of one registrable domain.
LOOKUPS = 256
SHARE = 32
#: Seconds after which a lookup gives its place to a waiting one; and after which it ends in any case.
TURN_S = 1.0
LOOKUP_S = 6.0
#: Seconds for which addresses, and failures, are cached at most; and the number of cached names.
LONGEST_S = 10.0
NEGATIVE_S = 5.0
REMEMBERED = 10_000
#: Seconds between two queries to name servers that are down, and for which an answer counts as a sign of life.
LOOK_S = 1.0
ALIVE_S = 2.0

_NO_NAME = frozenset((ares.ARES_ENOTFOUND, ares.ARES_ENODATA, ares.ARES_ENONAME, ares.ARES_EBADNAME, ares.ARES_EBADSTR))
_SILENT = frozenset((ares.ARES_ETIMEOUT, ares.ARES_ECONNREFUSED, ares.ARES_ESERVFAIL))

#: address family and address
_Resolved = tuple[socket.AddressFamily, str]
_Answer = tuple[_Resolved, ...] | OSError


class _Lookup:
    """The lookup of one name, with its waiting callers."""

    __slots__ = ("began", "channel", "host", "share", "timer", "waiters")

    def __init__(self, host: str) -> None:
        self.host = host
        self.share = share_of(host)
        self.waiters: set[asyncio.Future[_Answer]] = set()
        #: None while the lookup waits for a place
        self.channel: DnsChannel | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.began = 0.0


class NameResolver(AbstractResolver):
    """aiohttp's resolver interface; bound to the event loop that uses it first."""

    def __init__(
        self, servers: Sequence[str] = (), meter: Meter | None = None, status: Dependency | None = None
    ) -> None:
        """`servers`: address:port of name servers; empty: of resolv.conf. `status` records whether they answer."""
        self._servers = tuple(servers)
        self._meter = meter
        self._status = status
        self._lookups: dict[str, _Lookup] = {}
        #: the active lookups and the waiting ones, each in the order in which they began
        self._busy: dict[_Lookup, None] = {}
        self._queue: dict[_Lookup, None] = {}
        self._shares: dict[str, dict[_Lookup, None]] = {}
        self._remembered: OrderedDict[str, tuple[float, _Answer]] = OrderedDict()
        self._turns: asyncio.TimerHandle | None = None
        self._down = False
        self._alive_until = float("-inf")
        self._look: asyncio.Task[bool] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """The reason why no name can be resolved; None if the name servers answer."""
        return "the name servers do not answer" if self._down else None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """At most `MAX_ADDRESSES` addresses. Raises `socket.gaierror` when there are none, `Hindered` when DNS is down
        or this machine lacks a resource for the lookup.
        """
        name = host.lower()
        answer = await self._answer("localhost" if name == "localhost." else name)
        if isinstance(answer, OSError):
            raise type(answer)(*answer.args)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=6, flags=socket.AI_NUMERICHOST)
            for kind, address in answer
            if family in (socket.AF_UNSPEC, kind)
        ][:MAX_ADDRESSES]

    async def answers(self) -> bool:
        """Whether the name servers answer at all; a few seconds at most."""
        return await self._servers_answer()

    async def close(self) -> None:
        """End all lookups."""
        for task in (self._look, self._watch):
            if task is not None:
                task.cancel()
        for lookup in list(self._lookups.values()):
            self._end(lookup, socket.gaierror(socket.EAI_AGAIN, "the service stops"), "cancelled")

    async def _answer(self, host: str) -> _Answer:
        loop = asyncio.get_running_loop()
        remembered = self._remembered.get(host)
        if remembered is not None and remembered[0] > loop.time():
            return remembered[1]
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = _Lookup(host)
            self._queue[lookup] = None
        waiter: asyncio.Future[_Answer] = loop.create_future()
        lookup.waiters.add(waiter)
        self._advance()
        try:
            return await waiter
        finally:
            lookup.waiters.discard(waiter)
            if not lookup.waiters and self._lookups.get(host) is lookup:
                self._end(lookup, None, "cancelled")

    # --- places -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin waiting lookups as far as there are places, also by ending active ones that have had `TURN_S`."""
        now = asyncio.get_running_loop().time()
        for lookup in list(self._queue):
            rivals = self._shares.get(lookup.share, {})
            if len(rivals) >= SHARE and not self._gives_way(rivals, now):
                continue
            if len(self._busy) >= LOOKUPS and not self._gives_way(self._busy, now):
                break
            if lookup in self._queue:
                self._begin(lookup, now)
        if self._queue and self._turns is None:
            oldest = next(iter(self._busy), None)
            wait_s = max(0.05, oldest.began + TURN_S - now) if oldest is not None else 0.05
            self._turns = asyncio.get_running_loop().call_later(wait_s, self._next_turn)

    def _next_turn(self) -> None:
        self._turns = None
        self._advance()

    def _gives_way(self, rivals: Mapping[_Lookup, None], now: float) -> bool:
        """End the oldest of these lookups if it has been active for `TURN_S`; whether it was ended."""
        oldest = next(iter(rivals))
        if now - oldest.began < TURN_S:
            return False
        self._judge(oldest, None, ares.ARES_ETIMEOUT, "gave_way")
        return True

    def _begin(self, lookup: _Lookup, now: float) -> None:
        loop = asyncio.get_running_loop()
        del self._queue[lookup]
        self._busy[lookup] = None
        self._shares.setdefault(lookup.share, {})[lookup] = None
        lookup.began = now
        try:
            lookup.channel = DnsChannel(loop, self._servers)
        except pycares.AresError:
            self._fail(lookup, Hindered("memory", "no lookup could be begun: memory or descriptors are used up"))
            return
        lookup.timer = loop.call_later(LOOKUP_S, self._judge, lookup, None, ares.ARES_ETIMEOUT)

        # Deferred, because `_judge` closes the channel, which must not happen inside a callback of c-ares.
        def done(result: Any, error: int | None) -> None:
            loop.call_soon(self._judge, lookup, result, error)

        lookup.channel.addresses(lookup.host, done)

    # --- answers ------------------------------------------------------------------------------------------------

    def _judge(self, lookup: _Lookup, result: Any, error: int | None, outcome: str | None = None) -> None:
        if self._lookups.get(lookup.host) is not lookup:
            return
        if error is None:
            self._on_result(lookup, result)
        elif error in _NO_NAME and not self._down:
            self._alive()
            words = "the name has no address" if error == ares.ARES_ENODATA else "the name does not exist"
            self._end(lookup, socket.gaierror(socket.EAI_NONAME, words), "not_found", NEGATIVE_S)
        elif self._down:
            self._fail(lookup, Hindered("dns", f"{lookup.host} cannot be looked up: {self.trouble}"))
        elif error in _SILENT:
            self._release(lookup)  # its place is free while the name servers are checked
            task = asyncio.get_running_loop().create_task(self._who_is_at_fault(lookup, error, outcome))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        else:
            self._alive()
            words = f"the name servers refused to answer ({ares.errorcode.get(error, error)})"
            self._end(lookup, socket.gaierror(socket.EAI_FAIL, words), "failed", NEGATIVE_S)

    def _on_result(self, lookup: _Lookup, result: Any) -> None:
        nodes = [node for node in result.nodes if node.family in (socket.AF_INET, socket.AF_INET6)]
        ttl_s = min((node.ttl for node in nodes), default=0)
        if ttl_s:
            self._alive()
        addresses = tuple((socket.AddressFamily(node.family), node.addr[0].decode()) for node in nodes[:64])
        if not addresses:
            self._end(lookup, socket.gaierror(socket.EAI_NONAME, "the name has no address"), "not_found", NEGATIVE_S)
        else:
            self._end(lookup, addresses, "found", min(max(1.0, ttl_s), LONGEST_S))

    async def _who_is_at_fault(self, lookup: _Lookup, error: int, outcome: str | None) -> None:
        if not _has_descriptors():
            self._fail(lookup, Hindered("descriptors", "no lookup could be made: descriptors are used up"))
        elif await self._servers_answer():
            words = "its name servers failed" if error == ares.ARES_ESERVFAIL else "its name servers do not answer"
            ttl_s = NEGATIVE_S if outcome is None else 0.0
            failure = socket.gaierror(socket.EAI_AGAIN, words)
            self._end(lookup, failure, outcome or ("failed" if error == ares.ARES_ESERVFAIL else "timeout"), ttl_s)
        else:
            self._fail(lookup, Hindered("dns", f"{lookup.host} cannot be looked up: {self.trouble}"))

    def _fail(self, lookup: _Lookup, error: Hindered) -> None:
        for waiter in lookup.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._end(lookup, None, "hindered")

    def _end(self, lookup: _Lookup, answer: _Answer | None, outcome: str, remember_s: float = 0.0) -> None:
        """End a lookup. Its waiters get the answer, unless they already have a result."""
        if self._lookups.get(lookup.host) is not lookup:
            return
        del self._lookups[lookup.host]
        self._release(lookup)
        loop = asyncio.get_running_loop()
        if answer is not None:
            for waiter in lookup.waiters:
                if not waiter.done():
                    waiter.set_result(answer)
            if remember_s:
                self._remembered[lookup.host] = (loop.time() + remember_s, answer)
                self._remembered.move_to_end(lookup.host)
                if len(self._remembered) > REMEMBERED:
                    self._remembered.popitem(last=False)
        if self._meter is not None:
            self._meter.count("dns_lookups_total", result=outcome)
            if lookup.began:
                self._meter.observe("dns_lookup_seconds", loop.time() - lookup.began, result=outcome)
        if self._queue:
            loop.call_soon(self._advance)

    def _release(self, lookup: _Lookup) -> None:
        self._queue.pop(lookup, None)
        if lookup in self._busy:
            del self._busy[lookup]
            rivals = self._shares[lookup.share]
            del rivals[lookup]
            if not rivals:
                del self._shares[lookup.share]
        if lookup.timer is not None:
            lookup.timer.cancel()
        if lookup.channel is not None:
            lookup.channel.close()
            lookup.channel = None

    # --- the name servers ---------------------------------------------------------------------------------------

    def _alive(self) -> None:
        self._alive_until = asyncio.get_running_loop().time() + ALIVE_S
        if self._status is not None and not self._down:
            self._status.up()

    async def _servers_answer(self) -> bool:
        """Whether our name servers answer at all; concurrent calls share one query."""
        if self._alive_until > asyncio.get_running_loop().time():
            return True
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._looked())
        answers = await asyncio.shield(self._look)
        if not answers and not self._down:
            self._down = True
            if self._status is not None:
                self._status.down(f"{self.trouble}: deliveries that need a lookup are deferred")
            self._watch = asyncio.get_running_loop().create_task(self._until_alive())
        return answers

    async def _looked(self) -> bool:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int | None] = loop.create_future()

        def done(_: Any, error: int | None) -> None:
            loop.call_soon(lambda: None if answer.done() else answer.set_result(error))

        try:
            channel = DnsChannel(loop, self._servers)
        except pycares.AresError:
            return True  # a lack of memory or descriptors says nothing about the servers
        try:
            async with asyncio.timeout(LOOKUP_S):
                channel.root(done)
                error = await answer
        except TimeoutError:
            return False
        finally:
            channel.close()
        answers = error not in _SILENT
        if answers:
            self._alive()
        return answers

    async def _until_alive(self) -> None:
        while not await self._looked():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(LOOK_S)
        self._down = False
        self._alive()


def _has_descriptors() -> bool:
    """Whether a socket can be opened."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True
