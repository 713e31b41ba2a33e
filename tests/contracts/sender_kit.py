"""What the sender's contract tests share: policies, names, requests, and the two kinds of outcome."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from app.adapters.http.sender import HttpSender
from app.core.egress import EgressPolicy
from app.core.model.http_exchange import HttpFailure, HttpFailureKind, HttpOutcome, HttpReply, HttpRequest
from tests.contracts.session_sender import HttpSessionSender
from tests.patience import PATIENCE_S

LOCAL = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.0/8"]), allow_http=True)
STRICT = EgressPolicy(allow_http=True)

AnySender = HttpSender | HttpSessionSender
Open = Callable[..., Awaitable[AnySender]]


class Names(AbstractResolver):
    """A resolver that knows these names and nothing else; a name's answers are given in turn, the last for ever."""

    def __init__(self, **answers: Sequence[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(turns) for name, turns in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        turns = self._answers.get(host)
        if turns is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def post(url: str, *, body: bytes = b'{"a":1}', timeout_s: float = PATIENCE_S, **headers: str) -> HttpRequest:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest(url=url, headers=fields, body=body, timeout_s=timeout_s)


def refused(outcome: HttpOutcome, kind: HttpFailureKind) -> str:
    assert isinstance(outcome, HttpFailure), outcome
    assert outcome.kind == kind, outcome
    assert outcome.detail.endswith(".") and len(outcome.detail.split()) > 3
    return outcome.detail


def replied(outcome: HttpOutcome, status: int) -> HttpReply:
    assert isinstance(outcome, HttpReply), outcome
    assert outcome.status == status
    return outcome
