"""The token endpoint's failures name the cause and the setting to change."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from app.adapters.kafka import token_endpoint
from app.adapters.kafka.token_endpoint import TokenEndpoint
from app.adapters.kafka.tokens import TokenUnavailable
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText
from tests.fakes.clock import FakeClock
from tests.ports import free_port
from tests.token_issuer import CLIENT, SECRET, TokenIssuer, served

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def endpoint(url: str, **fields: Any) -> TokenEndpoint:
    client: dict[str, Any] = {"oauth_client_id": CLIENT, "oauth_client_secret": SecretText(SECRET)}
    connection = KafkaConnection(
        bootstrap="k:9092",
        security="sasl_plaintext",
        sasl_mechanism="OAUTHBEARER",
        oauth_token_url=url,
        **(client | fields),
    )
    return TokenEndpoint(connection, FakeClock())


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/token", answer)
    async with served(application, tls) as base:
        yield f"{base}/token"


async def problem(answer: Answer) -> str:
    async with answering(answer) as url:
        with pytest.raises(TokenUnavailable) as raised:
            await endpoint(url).obtain()
    assert SECRET not in str(raised.value)
    assert len(str(raised.value)) < 700
    return str(raised.value)


def json(content: Any, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(content, status=status)

    return answer


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            json({"error": "invalid_client"}, 400),
            "refuses the client hookstream (400, invalid_client): check HOOKSTREAM",
        ),
        (json({}, 401), "refuses the client hookstream (401): check HOOKSTREAM_KAFKA_OAUTH_CLIENT_ID and"),
        (json({"error": "invalid_scope"}, 400), "check HOOKSTREAM_KAFKA_OAUTH_SCOPE"),
        (json({"error": "x" * 60_000}, 400), "refuses the client"),
        (json({"error": 7}, 503), "answers 503: check HOOKSTREAM_KAFKA_OAUTH_TOKEN_URL"),
        (json({}, 302), "answers 302"),
        (json({}), "answers without a usable access_token"),
        (json([]), "answers without a usable access_token"),
        (json({"access_token": None}), "answers without a usable access_token"),
        (json({"access_token": "a", "expires_in": "soon"}), "answers without a usable access_token"),
        (json({"access_token": "a", "expires_in": "nan"}), "expires_in is out of range"),
        (json({"access_token": "a", "expires_in": 1e300}), "expires_in is out of range"),
        (json({"access_token": "a", "expires_in": 0}), "The token expired on 2023-11-14T22:13:20Z: check the clocks"),
        (json({"access_token": "a b"}), "characters that no token may have"),
        (json({"access_token": "a", "token_type": "mac"}), "returns a token of type mac, not Bearer"),
        (json({"access_token": "x" * 70_000}), "its answer is longer than 65536 bytes"),
    ],
)
async def test_answers_without_a_usable_token(answer: Answer, sentence: str) -> None:
    assert sentence in await problem(answer)


async def test_an_answer_that_never_ends_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 10_000)
        except ConnectionError:
            return response

    assert "longer than 65536 bytes" in await problem(endless)


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    unused = f"http://127.0.0.1:{free_port()}/token?tenant=1"
    with pytest.raises(TokenUnavailable, match=r"/token cannot be used \(.*: check HOOKSTREAM_KAFKA_OAUTH_TOKEN_URL"):
        await endpoint(unused).obtain()
    monkeypatch.setattr(token_endpoint, "_TIMEOUT_S", 0.0)
    with pytest.raises(TokenUnavailable, match="no answer within 0 s"):
        await endpoint(unused).obtain()


async def test_the_lives_of_tokens(tmp_path: Path) -> None:
    now_s = FakeClock().now_ms() / 1000
    token = TokenIssuer(tmp_path).token(exp=int(now_s) + 50)
    for content, life_s in (
        ({"access_token": "a", "expires_in": 30}, 30),
        ({"access_token": "a", "expires_in": "30"}, 30),
        ({"access_token": "a"}, 60),
        ({"access_token": token}, 50),
        ({"access_token": token, "expires_in": 3600}, 50),
    ):
        async with answering(json(content)) as url:
            assert (await endpoint(url).obtain()).expires_s == now_s + life_s


async def test_the_authority_of_the_token_endpoint(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    async with answering(json({"access_token": "a", "expires_in": 30}), tls) as url:
        with pytest.raises(TokenUnavailable, match=r"is not accepted .*HOOKSTREAM_KAFKA_OAUTH_CA_FILE"):
            await endpoint(url).obtain()
        assert (await endpoint(url, oauth_ca_file=file).obtain()).text == "a"


async def test_a_changed_client_secret_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("wrong")
    async with TokenIssuer(tmp_path).endpoint() as (url, _):
        source = endpoint(url, oauth_client_secret=SecretText("wrong", file))
        with pytest.raises(TokenUnavailable, match="invalid_client: unknown client"):
            await source.obtain()
        file.write_text(f"{SECRET}\n")
        assert (await source.obtain()).text
