"""Access tokens: from a real OAuth server (Authlib), from hostile ones, and how they are cached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from app.adapters.http import access_tokens
from app.adapters.http.access_tokens import AccessTokens
from app.adapters.http.sender import HttpSender
from app.core.egress import EgressPolicy
from app.core.errors import Hindered
from app.core.model.http_exchange import HttpOutcome, HttpReply, HttpRequest, HttpTiming, TokenGrant
from app.core.model.receiver_auth import OAuthClientCredentials
from tests.contracts.fault_server import Conversation, FaultServer, Script, answering, obliging
from tests.contracts.sender_kit import LOCAL, STRICT, post, refused, replied
from tests.oauth_server import AUDIENCE, CLIENT, SECRET, oauth_server
from tests.ports import free_port
from tests.real_proxy import real_proxy


def grant(token_url: str, owner: str = "ep_1", **more: Any) -> TokenGrant:
    fields = {"client_id": CLIENT, "client_secret": SECRET, "scope": "hooks.write", "audience": AUDIENCE} | more
    return TokenGrant(owner=owner, auth=OAuthClientCredentials(token_url=token_url, **fields))


def granted(request: HttpRequest, token_url: str, owner: str = "ep_1", **more: Any) -> HttpRequest:
    return msgspec.structs.replace(request, credential=grant(token_url, owner, **more))


def said(body: Any, status: int = 200) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)


@asynccontextmanager
async def opened(policy: EgressPolicy = LOCAL, **options: Any) -> AsyncIterator[HttpSender]:
    sender = HttpSender(policy, **options)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close()


async def asked(base: str, path: str, method: str = "GET") -> Any:
    async with aiohttp.ClientSession() as http, http.request(method, base + path) as answer:
        text = await answer.text()
        return json.loads(text) if text else None


@pytest.mark.parametrize("client_auth", ["basic", "body"])
async def test_a_real_server_issues_one_token_for_many_requests(client_auth: str) -> None:
    async with oauth_server() as base, opened() as sender:

        async def deliver(number: int) -> HttpOutcome:
            request = post(f"{base}/hook", webhook_id=f"evt_{number}")
            return await sender.send(granted(request, f"{base}/token", client_auth=client_auth))

        for outcome in await asyncio.gather(*map(deliver, range(8))):
            replied(outcome, 200)
        assert sorted(await asked(base, "/seen")) == [f"evt_{number}" for number in range(8)]
        assert await asked(base, "/tokens") == 1


async def test_a_revoked_token_is_renewed_once_and_the_request_is_repeated() -> None:
    async with oauth_server() as base, opened() as sender:
        request = granted(post(f"{base}/hook", webhook_id="evt_1"), f"{base}/token")
        replied(await sender.send(request), 200)
        await asked(base, "/revoke", "POST")
        replied(await sender.send(request), 200)
        assert (await asked(base, "/seen"), await asked(base, "/tokens")) == (["evt_1", "evt_1"], 2)
        await asked(base, "/revoke", "POST")
        replied(await sender.send(request), 401)
        assert await asked(base, "/tokens") == 2, "not again within half a minute"


async def test_a_real_server_that_refuses_is_quoted_with_its_code_alone() -> None:
    async with oauth_server() as base, opened() as sender:
        for number, (field, value, code) in enumerate(
            [("client_secret", "wrong-s3cr3t", "401 (invalid_client)"), ("audience", "x", "400 (invalid_target)")]
        ):
            request = granted(post(f"{base}/hook"), f"{base}/token", f"ep_{number}", **{field: value})
            detail = refused(await sender.send(request), "token")
            assert code in detail and "s3cr3t" not in detail
        assert await asked(base, "/seen") == []


async def test_tokens_are_never_shared_between_endpoints() -> None:
    async with oauth_server() as base, opened() as sender:
        for owner in ("ep_1", "ep_2"):
            replied(await sender.send(granted(post(f"{base}/hook", webhook_id=owner), f"{base}/token", owner)), 200)
        assert await asked(base, "/tokens") == 2


async def test_changed_credentials_fetch_another_token() -> None:
    async with oauth_server() as base, opened() as sender:
        request = post(f"{base}/hook", webhook_id="evt_1")
        refused(await sender.send(granted(request, f"{base}/token", client_secret="wrong")), "token")
        replied(await sender.send(granted(request, f"{base}/token")), 200)


async def test_the_guard_and_the_proxy_hold_for_the_token_url() -> None:
    async with FaultServer(answering(said({"access_token": "t"}))) as tokens, FaultServer(obliging) as server:
        async with opened(STRICT) as sender:
            detail = refused(await sender.send(granted(post("http://93.184.216.34/"), tokens.url)), "token")
            assert "127.0.0.1" in detail and tokens.connections == 0
        async with opened(EgressPolicy(allow=LOCAL.allow)) as sender:
            assert "https://" in refused(await sender.send(granted(post(server.url), tokens.url)), "token")
        assert (tokens.connections, server.connections) == (0, 0)


async def test_tokens_are_fetched_through_the_proxy_and_its_faults_are_nobodys() -> None:
    from app.adapters.http.egress_proxy import EgressProxy
    from app.core.egress_proxy import ProxyAddress, ProxyExceptions

    script = answering(said({"access_token": "t"}))
    async with real_proxy() as port, FaultServer(script) as tokens, FaultServer(obliging) as server:
        proxy = EgressProxy(ProxyAddress.parse(f"http://127.0.0.1:{port}"), ProxyExceptions(()))
        async with opened(proxy=proxy) as sender:
            replied(await sender.send(granted(post(server.url), tokens.url)), 200)
        gone = EgressProxy(ProxyAddress.parse(f"http://127.0.0.1:{free_port()}"), ProxyExceptions(()))
        async with opened(proxy=gone) as sender:
            with pytest.raises(Hindered, match="egress proxy"):
                await sender.send(granted(post(server.url), tokens.url))
        assert (tokens.connections, server.connections) == (1, 1)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no JSON": (said(b"<html>"), "no JSON object"),
    "an array": (said([1]), "no JSON object"),
    "nothing": (said(b""), "no JSON object"),
    "deep": (said(b'{"access_token":' + b"[" * 60_000), "no JSON object"),
    "no token": (said({"token": "x"}), "no JSON object"),
    "token is a number": (said({"access_token": 5}), "no JSON object"),
    "token is null": (said({"access_token": None}), "no JSON object"),
    "token is empty": (said({"access_token": ""}), "empty"),
    "line breaks": (said({"access_token": "a\r\nX-Evil: 1"}), "cannot be sent"),
    "a space": (said({"access_token": "a b"}), "cannot be sent"),
    "a null byte": (said({"access_token": "a\x00"}), "cannot be sent"),
    "not ASCII": (said({"access_token": "ü"}), "cannot be sent"),
    "too long": (said({"access_token": "x" * 8193}), "more than 8192"),
    "huge": (said({"access_token": "x", "more": "y" * 80_000}), "longer than 64 KiB"),
    "another type": (said({"access_token": "x", "token_type": "mac"}), "not Bearer"),
    "type is a number": (said({"access_token": "x", "token_type": 1}), "no JSON object"),
    "expires in words": (said({"access_token": "x", "expires_in": "soon"}), "not a number"),
    "expires in true": (said({"access_token": "x", "expires_in": True}), "no JSON object"),
    "expires in a list": (said({"access_token": "x", "expires_in": [60]}), "no JSON object"),
    "expires out of range": (said(b'{"access_token":"x","expires_in":1e999}'), "no JSON object"),
    "a redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "answered 302"),
    "500": (said({"error": "whoever reads this: s3cr3t"}, 500), "answered 500."),
    "201": (said({"access_token": "x"}, 201), "answered 201"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "token server's bytes are not"),
    "closes": (b"", "token server closed the connection"),
    "half a body": (b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{", "incomplete"),
    "bad length": (b"HTTP/1.1 200 X\r\ncontent-length: -1\r\n\r\n{}", "token server"),
}


@pytest.mark.parametrize(("answer", "words"), HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_token_server_is_a_failure_with_a_sentence(answer: bytes, words: str) -> None:
    script = answering(answer, stay=False)
    async with FaultServer(script) as tokens, FaultServer(obliging) as server, opened() as sender:
        detail = refused(await sender.send(granted(post(server.url), tokens.url)), "token")
        assert words in detail and "s3cr3t" not in detail and len(detail) < 300
        assert server.connections == 0


async def test_a_silent_token_server_ends_with_the_delivery_and_holds_no_other_endpoint_up() -> None:
    async def silent(conversation: Conversation) -> None:
        await conversation.until_gone()

    async with FaultServer(silent) as tokens, FaultServer(obliging) as server, opened() as sender:
        waiting = [
            asyncio.create_task(sender.send(granted(post(server.url, timeout_s=0.3), tokens.url))) for _ in range(5)
        ]
        replied(await sender.send(post(server.url)), 200)
        for outcome in await asyncio.gather(*waiting):
            assert "no access token for the request within 0.3 s" in refused(outcome, "token")
        assert tokens.connections == 1, "one request at a time"


async def test_a_token_server_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 X\r\ncontent-length: 60000\r\n\r\n")
        while True:
            await conversation.say(b" ")
            await asyncio.sleep(0.02)

    monkeypatch.setattr(access_tokens, "TIMEOUT_S", 0.3)
    async with FaultServer(drip) as tokens, FaultServer(obliging) as server, opened() as sender:
        detail = refused(await sender.send(granted(post(server.url), tokens.url)), "token")
        assert "incomplete" in detail


@pytest.mark.parametrize("expires_in", [0, -5, 0.0, 1e308, 10**18, "3600", "0", None])
async def test_an_absurd_life_is_bounded(expires_in: Any) -> None:
    script = obliging_with({"access_token": "t", "expires_in": expires_in})
    async with FaultServer(script) as tokens, FaultServer(obliging) as server, opened() as sender:
        request = granted(post(server.url), tokens.url)
        for _ in range(2):
            replied(await sender.send(request), 200)
        life_s = sender._tokens._slots["ep_1"].until - asyncio.get_running_loop().time()
        assert life_s <= access_tokens.MAX_LIFE_S
        short = str(expires_in) in ("0", "0.0", "-5")
        assert len(tokens.requests) == (2 if short else 1)
        assert b"authorization: bearer t\r\n" in server.requests[0].lower()


def obliging_with(body: Any) -> Script:
    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await conversation.say(said(body))

    return script


async def test_a_receiver_that_answers_401_for_ever_costs_one_more_token() -> None:
    async def refusing(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await conversation.say(said(b"", 401))

    async with FaultServer(obliging_with({"access_token": "t"})) as tokens, FaultServer(refusing) as server:
        async with opened() as sender:
            for _ in range(5):
                replied(await sender.send(granted(post(server.url), tokens.url)), 401)
        assert (len(tokens.requests), len(server.requests)) == (2, 6)


async def test_a_401_stays_the_outcome_when_no_new_token_comes() -> None:
    async def once(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(said({"access_token": "t"}) if conversation.number == 1 else said(b"", 503))

    async def refusing(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(said(b"", 401))

    async with FaultServer(once) as tokens, FaultServer(refusing) as server, opened() as sender:
        outcome = replied(await sender.send(granted(post(server.url), tokens.url)), 401)
        assert outcome.remarks == ("no new access token: The token server answered 503.",)


async def test_closing_ends_requests_for_tokens() -> None:
    async def silent(conversation: Conversation) -> None:
        await conversation.until_gone()

    async with FaultServer(silent) as tokens, opened() as sender:
        waiting = asyncio.create_task(sender.send(granted(post("http://127.0.0.1:1/"), tokens.url)))
        while not tokens.connections:
            await asyncio.sleep(0)
        await sender.close()
        refused(await waiting, "token")


# Caching, by a clock of the test's own


class Server:
    """Token server and receiver behind `AccessTokens`, with a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tokens = 0
        self.sent: list[str] = []
        self.life: Any = 100
        self.status = 200
        self.tokens_of = AccessTokens(self._answer, lambda: self.now)

    async def _answer(self, request: HttpRequest) -> HttpOutcome:
        if request.url.endswith("/token"):
            self.tokens += 1
            body = json.dumps({"access_token": f"t{self.tokens}", "expires_in": self.life}).encode()
            return _reply(self.status, body)
        self.sent.append(dict(request.headers)["Authorization"].removeprefix("Bearer "))
        return _reply(200, b"")

    async def deliver(self) -> HttpOutcome:
        outcome = await self.tokens_of.send(post("https://r.example/"), grant("https://t.example/token"))
        while any(slot.task for slot in self.tokens_of._slots.values()):  # a renewal in the background
            await asyncio.sleep(0)
        return outcome


def _reply(status: int, body: bytes) -> HttpReply:
    return HttpReply(status=status, headers=(), body=body, truncated=False, timing=HttpTiming())


async def test_a_token_is_renewed_before_it_expires_while_the_old_one_is_used() -> None:
    server = Server()
    for at, expected in ((0, "t1"), (70, "t1"), (80, "t1"), (81, "t2"), (150, "t2"), (175, "t3")):
        server.now = 1000.0 + at
        replied(await server.deliver(), 200)
        assert server.sent[-1] == expected, at
    assert server.tokens == 3


async def test_a_failed_renewal_costs_nothing_until_the_token_expires() -> None:
    server = Server()
    await server.deliver()
    server.status = 503
    for at in (80, 81, 86, 94):
        server.now = 1000.0 + at
        replied(await server.deliver(), 200)
    assert server.tokens == 4, "a failure is remembered for 5 s"
    server.now = 1096.0
    refused(await server.deliver(), "token")
    server.status, server.now = 200, 1200.0
    replied(await server.deliver(), 200)


async def test_failures_are_remembered_so_that_a_busy_endpoint_does_not_flood_its_token_server() -> None:
    server = Server()
    server.status = 400
    for _ in range(20):
        refused(await server.deliver(), "token")
    assert server.tokens == 1
    server.now += access_tokens.RETRY_S
    refused(await server.deliver(), "token")
    assert server.tokens == 2


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_tokens, "MAX_CACHED", 3)
    server = Server()
    for number in range(9):
        await server.tokens_of.send(post("https://r.example/"), grant("https://t.example/token", f"ep_{number}"))
    assert len(server.tokens_of._slots) == 3


async def test_hindrances_of_this_machine_are_raised_and_not_remembered() -> None:
    async def hindered(request: HttpRequest) -> HttpOutcome:
        raise Hindered("dns", "no name server answers")

    tokens = AccessTokens(hindered, lambda: 0.0)
    for _ in range(2):
        with pytest.raises(Hindered, match="no name server") as caught:
            await tokens.send(post("https://r.example/"), grant("https://t.example/token"))
        assert caught.value.cause == "dns"
    assert tokens._slots["ep_1"].failure is None


def test_secrets_are_not_printed() -> None:
    assert SECRET not in repr(post("https://r.example/")) + repr(grant("https://t.example/token"))
