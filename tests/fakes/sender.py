"""`app.ports.http.Sender` that answers by a script, and tells a test when it is called."""

from __future__ import annotations

import asyncio
from collections import deque

from app.core.model.http_exchange import HttpFailure, HttpFailureKind, HttpOutcome, HttpReply, HttpRequest, HttpTiming
from tests.fakes.clock import Pulse

Answer = int | HttpOutcome | Exception


def reply(status: int, **headers: str) -> HttpReply:
    """An answer of a receiver; `_` in a header's name stands for `-`."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpReply(status=status, headers=named, body=b"said", truncated=False, timing=HttpTiming(total_ms=3))


def refusal(kind: HttpFailureKind) -> HttpFailure:
    """No answer."""
    return HttpFailure(kind=kind, detail=f"it ended with {kind}", timing=HttpTiming(total_ms=3))


class ScriptedSender:
    """Answers 200 unless a URL has a script; the last line of a script is repeated."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self._scripts: dict[str, deque[Answer]] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._pulse = Pulse()

    async def send(self, request: HttpRequest) -> HttpOutcome:
        self.requests.append(request)
        self._pulse.beat()
        if request.url in self._gates:
            await self._gates[request.url].wait()
        script = self._scripts.get(request.url)
        answer: Answer = 200 if script is None else script.popleft() if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return reply(answer) if isinstance(answer, int) else answer

    def script(self, url: str, *answers: Answer) -> None:
        """What the receiver at `url` does, one after the other."""
        self._scripts[url] = deque(answers)

    def hold(self, *urls: str) -> None:
        """These do not answer until `release`."""
        for url in urls:
            self._gates[url] = asyncio.Event()

    def release(self, url: str) -> None:
        """It answers."""
        self._gates.pop(url).set()

    def to(self, url: str) -> list[HttpRequest]:
        """The requests to one receiver so far."""
        return [request for request in self.requests if request.url == url]

    async def called(self, number: int, url: str | None = None) -> list[HttpRequest]:
        """Wait for that many requests in all (to `url`)."""
        await self._pulse.until(lambda: len(self.requests if url is None else self.to(url)) >= number)
        return self.requests if url is None else self.to(url)
