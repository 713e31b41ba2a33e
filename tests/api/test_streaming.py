"""A stream of events over a socket: who may have one, how it is refused, and when the server ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from app.adapters.http.api_client import ApiClient
from app.adapters.http.event_stream import MAX_MESSAGE, SseMessage, SseParser
from app.api.server import event_streams, streaming
from app.core.errors import CommandRefused, Unavailable
from app.core.secret_text import SecretText
from tests.api.raw_http import RawConnection, ask, head
from tests.dashboard.stage import KEYS, OPERATOR, Stage
from tests.fakes.clock import settle
from tests.patience import PATIENCE_S

PATH = "/v1/events/stream"
ACME, TEST = KEYS["acme", "live"], KEYS["acme", "test"]


@pytest.fixture(autouse=True)
def former_records(stage: Stage) -> None:
    """The log has the records that the stage's end offset counts."""
    for _ in range(10):
        stage.log.put("events.raw", value=b"", partition=0)


def event(stage: Stage, id_: str, tenant: str = "acme", size: int = 1) -> None:
    data = b"x" * size
    value = b'{"type":"user.created","id":"%b","tenant":"%b","data":"%b"}' % (id_.encode(), tenant.encode(), data)
    stage.log.put("events.raw", value=value, partition=0)
    stage.log.pulse.beat()


@asynccontextmanager
async def stream(stage: Stage, key: str = ACME, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(stage.url + PATH, headers={"Authorization": f"Bearer {key}", **headers}) as answer,
    ):
        yield answer


async def message(answer: aiohttp.ClientResponse) -> bytes:
    """The next one."""
    async with asyncio.timeout(PATIENCE_S):
        return await answer.content.readuntil(b"\n\n")


async def test_a_stream_is_refused_like_any_other_request(stage: Stage) -> None:
    assert (await ask(stage.url, head("GET", PATH))).status == 401
    assert (await ask(stage.url, head("GET", PATH, key="sk_live_none"))).status == 401
    assert (await ask(stage.url, head("GET", PATH, key=OPERATOR))).status == 403, "it belongs to no tenant"
    for query in ("types=a..b", "types=", "types=" + "a," * 60 + "a", "limit=1"):
        assert (await ask(stage.url, head("GET", f"{PATH}?{query}", key=ACME))).status == 400, query
    assert (await ask(stage.url, head("GET", PATH, key=ACME, Last_Event_ID="x"))).status == 400
    assert stage.server.streams.streams() == 0


async def test_a_key_gets_its_events_and_the_operator_those_of_the_tenant_it_names(stage: Stage) -> None:
    acting = {"Hookstream-Tenant": "acme", "Hookstream-Mode": "live"}
    async with stream(stage) as own, stream(stage, OPERATOR, **acting) as operator, stream(stage, TEST) as test:
        for answer in (own, operator, test):
            assert answer.content_type == "text/event-stream" and answer.headers["X-Request-Id"]
            assert b"event: ready" in await message(answer)
        event(stage, "theirs", "other")
        event(stage, "mine")
        for answer in (own, operator):
            assert b'"id":"mine"' in await message(answer)
        await stage.clock.advance(event_streams.BEAT_S + 1)
        assert b": beat" in await message(test), "the key of another mode sees nothing but beats"


async def test_a_revoked_key_ends_its_streams(stage: Stage) -> None:
    async with stream(stage) as answer:
        await message(answer)
        stage.feed.directory.remove_key(f"key_of_{ACME}")
        await stage.clock.advance(2)
        assert b'"reason":"unauthenticated"' in await message(answer)
        assert await answer.content.read() == b""


async def test_too_many_streams_of_a_key_are_a_429(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "MAX_OF_KEY", 1)
    async with stream(stage) as answer:
        await message(answer)
        refused = await ask(stage.url, head("GET", PATH, key=ACME))
        assert refused.status == 429 and b"too_many_streams" in refused.body


async def test_a_client_that_takes_no_bytes_is_disconnected(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WRITE_S", 0.05)
    deaf = await RawConnection.to(stage.url)
    deaf.reader._limit = 1  # type: ignore[attr-defined]
    await deaf.send(head("GET", PATH, key=ACME))
    while stage.server.streams.streams() == 0:
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        while stage.server.streams.streams():
            event(stage, "large", size=60_000)
            await asyncio.sleep(0.001)
    deaf.close()


async def test_the_client_reads_messages_and_says_why_there_are_none(stage: Stage) -> None:
    async with ApiClient(stage.url, SecretText(ACME)) as api, api.stream("events", "stream") as messages:
        async for each in messages:
            if each.event == "event":
                assert each.id == "11" and b'"id":"e1"' in each.data
                break
            assert each.event == "ready"
            await settle()
            event(stage, "e1")
    async with ApiClient(stage.url, SecretText("sk_live_none")) as api:
        with pytest.raises(CommandRefused, match="does not accept this key"):
            async with api.stream("events", "stream"):
                pass
    async with ApiClient(stage.url, SecretText(ACME)) as api:
        with pytest.raises(Unavailable, match="is not Hookstream's API"):
            async with api.stream("webhooks"):
                pass


def test_messages_are_read_however_they_are_cut() -> None:
    text = b"retry: 2\nid: 1,2\nevent: ready\ndata: {}\n\nid: 3\n: beat\n\nevent: x\ndata: a\ndata:b\n\n"
    expected = [SseMessage("1,2", "ready", b"{}"), SseMessage("3", "", b""), SseMessage("3", "x", b"a\nb")]
    for size in (1, 7, len(text)):
        parser = SseParser()
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert [each for chunk in chunks for each in parser.feed(chunk)] == expected


def test_a_message_without_an_end_is_bounded() -> None:
    parser = SseParser()
    with pytest.raises(Unavailable, match="more than"):
        for _ in range(MAX_MESSAGE // 1_000_000 + 1):
            list(parser.feed(b"x" * 1_000_000))
