"""One token serves all connections; it is renewed early, once, and a failure has a bounded number of attempts."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.adapters.kafka.tokens import CachedToken, FileToken, Token, TokenUnavailable, claims, expiry
from tests.fakes.clock import FakeClock, settle
from tests.patience import PATIENCE_S
from tests.token_issuer import TokenIssuer


class Server:
    """Returns token-1, token-2, … with a life of 100 s, or fails; `gate` holds requests back."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.requests = 0
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def obtain(self) -> Token:
        self.requests += 1
        number = self.requests
        await self.gate.wait()
        if self.failing:
            raise TokenUnavailable("no answer")
        return Token(f"token-{number}", self._clock.now_ms() / 1000 + 100)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Server:
    return Server(clock)


@pytest.fixture
def cached(server: Server, clock: FakeClock) -> CachedToken:
    return CachedToken("OAUTHBEARER", server.obtain, clock)


async def test_a_token_is_renewed_at_four_fifths_of_its_life(cached: CachedToken, clock: FakeClock) -> None:
    assert await cached.token() == "token-1"
    await clock.advance(79)
    assert await cached.token() == "token-1"
    await clock.advance(1)
    assert await cached.token() == "token-2"


async def test_connections_share_one_request(cached: CachedToken, server: Server) -> None:
    server.gate.clear()
    waiting = [asyncio.create_task(cached.token()) for _ in range(50)]
    await settle()
    waiting[0].cancel()  # a connection that gives up
    server.gate.set()
    assert set(await asyncio.gather(*waiting[1:])) == {"token-1"}
    assert server.requests == 1


async def test_a_failed_renewal_leaves_the_former_token(cached: CachedToken, server: Server, clock: FakeClock) -> None:
    assert await cached.token() == "token-1"
    server.failing = True
    await clock.advance(80)
    assert {await cached.token() for _ in range(20)} == {"token-1"}
    assert server.requests == 2
    await clock.advance(20)  # now it has expired
    with pytest.raises(TokenUnavailable, match="no answer"):
        await cached.token()
    server.failing = False
    await clock.advance(1)
    assert await cached.token() == "token-4"


async def test_a_failure_is_repeated_for_a_second(cached: CachedToken, server: Server, clock: FakeClock) -> None:
    server.failing = True
    for _ in range(100):
        with pytest.raises(TokenUnavailable, match="no answer"):
            await cached.token()
    assert server.requests == 1
    await clock.advance(1)
    with pytest.raises(TokenUnavailable):
        await cached.token()
    assert server.requests == 2


async def test_a_refused_token_is_replaced_after_a_pause(cached: CachedToken, server: Server, clock: FakeClock) -> None:
    await cached.token()
    for _ in range(20):
        cached.refused()
        assert await cached.token() == "token-1"
    await clock.advance(10)
    assert await cached.token() == "token-2"
    assert server.requests == 2


def test_threads_share_one_request(clock: FakeClock) -> None:
    """Each consumer of Faust has a thread and an event loop."""
    gate, requests = threading.Event(), []

    async def obtain() -> Token:
        requests.append(threading.get_ident())
        await asyncio.to_thread(gate.wait, PATIENCE_S)
        return Token("token", clock.now_ms() / 1000 + 100)

    cached = CachedToken("OAUTHBEARER", obtain, clock)

    async def connect() -> str:
        if waiting.wait(PATIENCE_S) == 0:
            gate.set()
        return await cached.token()

    waiting = threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(asyncio.run, connect()) for _ in range(8)]
        assert {each.result() for each in done} == {"token"}
    assert len(requests) == 1


@pytest.mark.parametrize("text", ["", "a b", "a\x01auth=Bearer b", "a\nb", "ä"])
async def test_a_text_that_is_no_token_is_refused(clock: FakeClock, text: str) -> None:
    async def obtain() -> Token:
        return Token(text, 1e12)

    with pytest.raises(TokenUnavailable, match="characters"):
        await CachedToken("OAUTHBEARER", obtain, clock).token()


def test_a_token_that_was_obtained_on_another_event_loop(clock: FakeClock) -> None:
    server = Server(clock)
    cached = CachedToken("OAUTHBEARER", server.obtain, clock)
    server.gate.clear()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await cached.token()

    asyncio.run(give_up())
    server.gate.set()
    assert asyncio.run(cached.token()).startswith("token-")


async def test_a_token_file_is_read_for_each_connection(tmp_path: Path, clock: FakeClock) -> None:
    file = tmp_path / "token"
    source = FileToken(file, clock)
    with pytest.raises(TokenUnavailable, match=r"HOOKSTREAM_KAFKA_OAUTH_TOKEN_FILE: .*token cannot be used: .*No such"):
        await source.token()
    file.write_text("opaque\n")
    assert await source.token() == "opaque"
    file.write_text("another")
    assert await source.token() == "another"
    file.write_text("x" * 100_000)
    with pytest.raises(TokenUnavailable, match="longer than 65536 bytes"):
        await source.token()
    file.write_text("")
    with pytest.raises(TokenUnavailable, match="it is empty"):
        await source.token()


async def test_an_expired_token_of_a_file_is_named(tmp_path: Path, clock: FakeClock) -> None:
    file = tmp_path / "token"
    file.write_text(TokenIssuer(tmp_path).token(exp=1_600_000_000))
    with pytest.raises(TokenUnavailable, match=r"The token expired on 2020-09-13T12:26:40Z: check the program"):
        await FileToken(file, clock).token()


def test_claims_are_read_from_json_web_tokens_alone(tmp_path: Path) -> None:
    token = TokenIssuer(tmp_path).token(iss="https://login.example", aud=["a", "b"], exp=1_600_000_000)
    assert expiry(token) == 1_600_000_000
    assert claims(token) == "iss 'https://login.example', aud 'a,b', sub 'plain', exp 2020-09-13T12:26:40Z"
    for text in ("opaque", "a.b.c", "..", "a.e30.c", "a.bnVsbA.c", "a.W10.c", f"a.{'b' * 60_000}.c"):
        assert expiry(text) is None
        assert claims(text) == ""
    assert len(claims(TokenIssuer(tmp_path).token(sub="x" * 30_000))) < 500
