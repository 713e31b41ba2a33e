"""The demo receiver: a webhook endpoint that verifies signatures, remembers requests, and misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from app.core.errors import ConfigError
from app.embedded.receiver.faults import Fault, FaultScript
from app.embedded.receiver.http import ReceivedRequest, ReceiverAnswer, ReceiverProtocol
from app.embedded.receiver.tls import self_signed
from app.embedded.receiver.verify import CHECKS, verify
from app.ports.clock import Clock

#: Requests that `GET /` lists.
REMEMBERED = 1000


class Received(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One POST and its answer."""

    #: when it was read completely, in milliseconds since the epoch
    at_ms: int
    path: str
    profile: str
    event_type: str | None
    event_id: str | None
    #: the value of the attempt header; None if there is none
    attempt: int | None
    #: None: no secret is registered for the path
    verified: bool | None
    #: why it is not verified
    reason: str | None
    #: the status of the answer; 0: no status line (hang, reset, garbage)
    status: int
    body_bytes: int
    #: only for `on_request`; dropped from remembered requests
    headers: dict[str, str] = {}
    body: bytes = b""


#: iterations of the event loop after which connections accepted before the listener closed are registered
_ACCEPTING = 3
#: iterations after which all of them have ended, except unfinished TLS handshakes
_ENDING = 20


class DemoReceiver:
    """`POST /<profile>[/<anything>]` accepts webhooks; `GET /` lists the last 1,000, `GET /stats` counts all.

    `secrets` maps a path without its first slash (`bota`, or `bota/acme` for one endpoint) to (profile, secret). A
    signature that does not hold is answered with 401; without a secret nothing is verified.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 0,
        secrets: Mapping[str, tuple[str, str]] | None = None,
        faults: FaultScript | None = None,
        on_request: Callable[[Received], None] | None = None,
    ) -> None:
        self._clock = clock
        self._host = host
        self._port = port
        self._secrets: dict[str, tuple[str, str]] = {}
        self._faults = faults
        self._on_request = on_request
        self._connections: set[ReceiverProtocol] = set()
        self._received: deque[Received] = deque(maxlen=REMEMBERED)
        self._counts: Counter[tuple[str, str]] = Counter()
        #: requests seen so far, for each path and script
        self._turns: Counter[tuple[str, str]] = Counter()
        for path, (profile, secret) in (secrets or {}).items():
            self.register(path, profile, secret)

    def register(self, path: str, profile: str, secret: str) -> None:
        """Set the secret of `path`, which exists only after its endpoint was created."""
        if profile not in CHECKS:
            raise ConfigError([f"The receiver knows no profile {profile!r}; it knows {', '.join(CHECKS)}."])
        self._secrets[path.strip("/")] = (profile, secret)

    async def start(self) -> str:
        """Listen. Returns the base URL, such as http://127.0.0.1:49152; raises `ConfigError` if the port is in use."""
        bad_tls = self._faults is not None and self._faults.bad_tls
        context = self_signed(self._host, self._clock.now_ms()) if bad_tls else None
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: ReceiverProtocol(self._handle, self._connections),
                self._host,
                self._port,
                ssl=context,
                backlog=1024,
            )
        except OSError as error:
            problem = f"The receiver cannot listen on {self._host}:{self._port}: {error.strerror}."
            raise ConfigError([problem]) from error
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if bad_tls else 'http'}://{host}:{port}"

    async def stop(self) -> None:
        """Close the listener and every connection."""
        loop = asyncio.get_running_loop()
        for listener in self._server.sockets:
            loop.remove_reader(listener.fileno())
        for _ in range(_ACCEPTING):  # asyncio loses a connection if the listener closes during the accept
            await asyncio.sleep(0)
        self._server.close()
        for _ in range(_ENDING):
            for connection in self._connections:
                connection.abort()
            await asyncio.sleep(0)
            if not self._connections:
                break
        await self._server.wait_closed()

    @property
    def received(self) -> tuple[Received, ...]:
        """The last 1,000 requests, oldest first."""
        return tuple(self._received)

    def _handle(self, request: ReceivedRequest) -> ReceiverAnswer:
        if request.method == "POST":
            return self._take(request)
        if request.method == "OPTIONS":
            return _agreement(request.headers)
        if request.method == "GET" and request.path == "/":
            return ReceiverAnswer(body=msgspec.json.encode(self.received))
        if request.method == "GET" and request.path == "/stats":
            return ReceiverAnswer(body=msgspec.json.encode(self._stats()))
        return ReceiverAnswer(status=404 if request.method == "GET" else 405, body=b'{"received":false}')

    def _take(self, request: ReceivedRequest) -> ReceiverAnswer:
        path = request.path.strip("/")
        profile = path.partition("/")[0]
        secret = self._secrets.get(path) or self._secrets.get(profile)
        if secret is None and profile not in CHECKS:
            return ReceiverAnswer(status=404, body=b'{"received":false,"reason":"the path names no profile"}')
        try:
            fault = self._fault(request)
        except ConfigError as error:
            return ReceiverAnswer(status=400, body=msgspec.json.encode({"received": False, "reason": str(error)}))
        now_ms = self._clock.now_ms()
        reason = None
        if secret is not None:
            profile = secret[0]
            reason = verify(*secret, request.headers, request.body, now_ms / 1000)
        answer = _answer(fault, reason)
        challenge = request.headers.get("webhook-challenge")
        if challenge is not None and fault is None and reason is None:
            answer = ReceiverAnswer(body=msgspec.json.encode({"challenge": challenge}))
        self._remember(request, profile, secret is not None, reason, answer.status, now_ms)
        return answer

    def _fault(self, request: ReceivedRequest) -> Fault | None:
        script, text = self._faults, ""
        if "fault=" in request.query:
            text = parse_qs(request.query).get("fault", [""])[0]
            script = FaultScript.parse(text)
            if script.bad_tls:
                raise ConfigError(["The fault 'badtls' is about the listener: start the receiver with it."])
        if script is None or script.bad_tls:
            return None
        turn = self._turns[request.path, text]
        self._turns[request.path, text] += 1
        return script.fault(turn)

    def _remember(
        self, request: ReceivedRequest, profile: str, signed: bool, reason: str | None, status: int, now_ms: int
    ) -> None:
        event_type, event_id = _read_event(request)
        received = Received(
            at_ms=now_ms,
            path=request.path,
            profile=profile,
            event_type=event_type,
            event_id=event_id,
            attempt=_attempt(request.headers),
            verified=reason is None if signed else None,
            reason=reason,
            status=status,
            body_bytes=len(request.body),
        )
        self._received.append(received)
        outcome = "unsigned" if received.verified is None else "verified" if received.verified else "unverified"
        for count in (("total", "total"), ("signature", outcome), ("status", str(status)), ("profile", profile)):
            self._counts[count] += 1
        if self._on_request is not None:
            self._on_request(msgspec.structs.replace(received, headers=dict(request.headers), body=request.body))

    def _stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = {"total": self._counts["total", "total"], "signature": {}, "status": {}, "profile": {}}
        for (group, name), count in self._counts.items():
            if group != "total":
                stats[group][name] = count
        return stats


class _Event(msgspec.Struct):
    """Fields that the envelope of any profile may have."""

    id: str | None = None
    type: str | None = None
    event: str | None = None


_EVENT = msgspec.json.Decoder(_Event)


def _read_event(request: ReceivedRequest) -> tuple[str | None, str | None]:
    """The type from the body, and the id from the headers or else from the body."""
    try:
        event = _EVENT.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = _Event()
    named = request.headers.get("webhook-id") or request.headers.get("svix-id")
    return event.type or event.event, named or event.id


def _attempt(headers: Mapping[str, str]) -> int | None:
    text = headers.get("webhook-attempt", "")
    return int(text) if text.isdecimal() else None


def _agreement(headers: Mapping[str, str]) -> ReceiverAnswer:
    """The answer to a validation request of CloudEvents HTTP Web Hooks 1.0: deliveries are welcome, at any rate."""
    origin = headers.get("webhook-request-origin")
    if origin is None:
        return ReceiverAnswer(status=405, body=b'{"received":false}')
    return ReceiverAnswer(headers=(("webhook-allowed-origin", origin), ("webhook-allowed-rate", "*")))


def _answer(fault: Fault | None, reason: str | None) -> ReceiverAnswer:
    """The answer with a fault applied; without a fault it is 200, or 401 for an invalid signature."""
    usual = ReceiverAnswer() if reason is None else ReceiverAnswer(status=401, body=b'{"error":"Invalid signature"}')
    match fault:
        case Fault(kind="status", number=number):
            return ReceiverAnswer(status=int(number))
        case Fault(kind="delay", number=seconds):
            return msgspec.structs.replace(usual, after_s=seconds)
        case Fault(kind="retry-after", number=seconds):
            return ReceiverAnswer(status=429, headers=(("retry-after", str(int(seconds))),))
        case Fault(kind="redirect", url=url):
            return ReceiverAnswer(status=302, headers=(("location", url),))
        case Fault(kind="bigbody", number=size):
            return ReceiverAnswer(trick="bigbody", size_bytes=int(size))
        case Fault(kind="hang" | "reset" | "garbage" as trick):
            return ReceiverAnswer(status=0, trick=trick)
        case Fault(kind="sloppy"):
            return ReceiverAnswer(status=204, trick="sloppy")
        case Fault(kind="flood"):
            return ReceiverAnswer(status=500, headers=tuple((f"x-{n}", "\xff" * 7_500) for n in range(8)))
        case _:
            return usual
