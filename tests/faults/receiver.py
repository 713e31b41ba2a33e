"""The customers' side of the fault suite: an aiohttp server that misbehaves by a seed and writes down what it saw."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

HANGS_S = 30.0
_TOKEN_LASTS_S = 5
#: answers of a hostile receiver: bytes, and whether they say that it has the event
HOSTILE: dict[str, tuple[bytes, bool]] = {
    "huge headers": (
        b"HTTP/1.1 500 No\r\n" + b"".join(b"x-%d: %b\r\n" % (at, b"\xff" * 7800) for at in range(100)) + b"\r\n",
        False,
    ),
    "one long header": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 12_000 + b"\r\ncontent-length: 0\r\n\r\n", True),
    "body behind a 204": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", True),
    "more than its length": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokay and more", True),
    "control characters": (b"HTTP/1.1 503 \x01\x02\r\nx: \x00\xfe\r\ncontent-length: 0\r\n\r\n", False),
    "headers without end": (b"HTTP/1.1 500 No\r\n" + b"x: y\r\n" * 40_000, False),
    "no status line": (b"\x00" * 70_000, False),
}
_FAILURES = ("status", "status", "reset", "garbage", "hang", "slow")


@dataclass(slots=True)
class Hit:
    """One request."""

    path: str
    event_id: str
    attempt: int
    sequence: int
    ordering_key: str
    replay: str
    verified: bool
    #: what its receiver misses in it, beside the signature; empty: nothing
    missing: str
    #: seconds of the loop's clock; `ended` is when it was answered or given up
    started: float
    ended: float = 0.0
    #: what was answered; 0: nothing that is HTTP
    status: int = 0
    #: the receiver has cut the connection without a byte of HTTP
    cut: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has said that it has it."""
        return self.status == 200


@dataclass(slots=True)
class TokenServer:
    """Issues access tokens that must be renewed within the round."""

    name: str
    issued: int = 0

    def issue(self) -> dict[str, object]:
        """The answer to a request for a token."""
        self.issued += 1
        return {"access_token": f"{self.name}-{self.issued}", "token_type": "Bearer", "expires_in": _TOKEN_LASTS_S}

    def knows(self, authorization: str) -> bool:
        """Whether a header carries a token that was issued; it is taken after its end, too, as most receivers do."""
        return authorization in {f"Bearer {self.name}-{number}" for number in range(1, self.issued + 1)}


@dataclass(slots=True)
class Manners:
    """How the receiver behaves on one path."""

    secret: str
    seed: int
    #: the share of events that fail at first
    flaky: float = 0.0
    #: how often they fail at most; more than the schedule has attempts: they die
    failures: int = 3
    #: everything fails, for ever
    dead: bool = False
    #: nothing is answered while this is set
    silent: bool = False
    #: seconds that a good answer takes at most
    takes_s: float = 0.0
    #: it takes just as long
    exactly: bool = False
    #: it answers in ways that no server should (HOSTILE)
    hostile: bool = False
    #: it takes only CloudEvents in structured mode
    cloud_events: bool = False
    #: it takes only requests with an access token of this issuer
    tokens: TokenServer | None = None
    hits: list[Hit] = field(default_factory=list)


class Receiver:
    """`POST /<anything>`; an event that was taken once is taken again, as a careful receiver does."""

    def __init__(self) -> None:
        self._manners: dict[str, Manners] = {}
        self._token_servers: dict[str, TokenServer] = {}
        self._seen: Counter[tuple[str, str]] = Counter()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of the loopback address."""
        application = web.Application()
        application.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def expect(self, path: str, manners: Manners) -> None:
        """From now on requests to `path` are treated so."""
        self._manners[path] = manners

    def serve_tokens(self, path: str) -> TokenServer:
        """From now on `path` is the token URL of an authorisation server."""
        server = self._token_servers[path] = TokenServer(path.strip("/").replace("/", "-"))
        return server

    def forget(self, path: str) -> None:
        """The path is over; what still comes gets 410."""
        self._manners.pop(path, None)
        self._seen = Counter({name: times for name, times in self._seen.items() if name[0] != path})

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if request.path in self._token_servers:
            return web.json_response(self._token_servers[request.path].issue())
        manners = self._manners.get(request.path)
        if manners is None:
            return web.Response(status=410)
        body = await request.read()
        loop = asyncio.get_running_loop()
        hit = _hit(request.path, request.headers, manners, body, loop.time())
        manners.hits.append(hit)
        turn = self._seen[hit.path, hit.event_id]
        self._seen[hit.path, hit.event_id] += 1
        dice = random.Random(f"{manners.seed} {hit.path} {hit.event_id}")
        failures = dice.randint(1, manners.failures) if dice.random() < manners.flaky else 0
        try:
            return await self._answer(request, hit, manners, dice, fails=manners.dead or turn < failures)
        finally:
            hit.ended = loop.time()

    async def _be_hostile(self, request: web.Request, hit: Hit, dice: random.Random, *, fails: bool) -> web.Response:
        """As `_answer`, in bytes that no server should write, one after the other now and then."""
        said, yes = HOSTILE[dice.choice([kind for kind, (_, yes) in HOSTILE.items() if yes != fails])]
        hit.status = 200 if yes else 500
        hit.cut = not said.startswith(b"HTTP/")
        transport = request.transport
        assert transport is not None
        slowly = fails and dice.random() < 0.2  # slower than any timeout
        for at in range(0, len(said), 7 if slowly else len(said)):
            transport.write(said[at : at + (7 if slowly else len(said))])
            if slowly:
                await asyncio.sleep(0.01)
        transport.close()
        return web.Response()

    async def _answer(
        self, request: web.Request, hit: Hit, manners: Manners, dice: random.Random, *, fails: bool
    ) -> web.StreamResponse:
        if manners.silent:
            await asyncio.sleep(HANGS_S)
        if manners.hostile:
            return await self._be_hostile(request, hit, dice, fails=fails)
        if not fails:
            if manners.takes_s:
                await asyncio.sleep(manners.takes_s * (1.0 if manners.exactly else dice.random()))
            hit.status = 200
            return web.Response(text="ok")
        kinds = random.Random(f"{manners.seed} {hit.event_id} {hit.attempt}")
        kind = "status" if manners.dead else kinds.choice(_FAILURES)
        transport = request.transport
        assert transport is not None
        if kind == "reset":
            hit.cut = True
            transport.abort()
            return web.Response()
        elif kind == "garbage":
            hit.cut = True
            transport.write(b"\x00\xff not HTTP\r\n\r\n")
            transport.close()
            return web.Response()
        elif kind == "hang":
            await asyncio.sleep(HANGS_S)
        elif kind == "slow":
            await asyncio.sleep(0.3)
        hit.status = dice.choice((500, 503, 404, 302))
        return web.Response(status=hit.status)


def _hit(path: str, headers: Mapping[str, str], manners: Manners, body: bytes, now: float) -> Hit:
    return Hit(
        path=path,
        event_id=headers.get("webhook-id", ""),
        attempt=int(headers.get("webhook-attempt", "0")),
        sequence=int(headers.get("webhook-sequence", "0")),
        ordering_key=headers.get("webhook-ordering-key", ""),
        replay=headers.get("webhook-replay", ""),
        verified=_verified(manners.secret, body, headers),
        missing=_missing(manners, body, headers),
        started=now,
    )


def _missing(manners: Manners, body: bytes, headers: Mapping[str, str]) -> str:
    if manners.tokens is not None and not manners.tokens.knows(headers.get("authorization", "")):
        return "an access token"
    if manners.cloud_events:
        event = json.loads(body) if headers.get("content-type", "").startswith("application/cloudevents+json") else {}
        if event.get("specversion") != "1.0" or event.get("id") != headers.get("webhook-id"):
            return "a CloudEvent"
    return ""


def _verified(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    if not secret:
        return True
    try:
        Webhook(secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True
