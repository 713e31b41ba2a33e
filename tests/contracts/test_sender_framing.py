"""Once status line and headers are whole, the status counts: however the rest is framed, and however it was cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.adapters.http.sender import HttpSender
from app.adapters.http.wire import BROKEN, EXCESS, MALFORMED, MAX_HEAD, HttpConnection
from app.core.model.http_exchange import HttpOutcome
from tests.contracts.fault_server import OK, Conversation, FaultServer
from tests.contracts.sender_kit import LOCAL, post, refused, replied
from tests.patience import PATIENCE_S

#: name → the answer's bytes, its status, body and remark
ANSWERS: dict[str, tuple[bytes, int, bytes, str | None]] = {
    "whole": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", None),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", None),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, b"ok", None),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", None),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nx: y\r\n\r\n" + OK, 200, b"ok", None),
    "12,000 bytes in one header": (
        b"HTTP/1.1 202 A\r\nx: " + b"y" * 12_000 + b"\r\ncontent-length: 0\r\n\r\n",
        202,
        b"",
        None,
    ),
    "204 with a body": (b"HTTP/1.1 204 No Content\r\n\r\nok", 204, b"", EXCESS),
    "204 with a length and a body": (b"HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", 204, b"", EXCESS),
    "304 with a body": (b"HTTP/1.1 304 N\r\ncontent-length: 2\r\n\r\nok", 304, b"", EXCESS),
    "length too short": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokMORE", 200, b"ok", EXCESS),
    "length 0 and a body": (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\nMORE", 500, b"", EXCESS),
    "an answer that nobody asked for": (OK + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 200, b"ok", EXCESS),
    "after the last chunk": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nMORE",
        200,
        b"ok",
        EXCESS,
    ),
    "no chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", 200, b"ok", BROKEN),
    "chunked and a length": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        b"",
        MALFORMED,
    ),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", 200, b"", MALFORMED),
    "no length": (b"HTTP/1.1 201 OK\r\ncontent-length: many\r\n\r\nok", 201, b"", MALFORMED),
    "negative length": (b"HTTP/1.1 201 OK\r\ncontent-length: -1\r\n\r\nok", 201, b"", MALFORMED),
    "a line that is no header": (b"HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 2\r\n\r\nok", 200, b"", MALFORMED),
    "a NUL": (b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 2\r\n\r\nok", 200, b"", MALFORMED),
}


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    made = HttpSender(LOCAL)
    await made.start()
    yield made
    await made.close()


def judged(outcome: HttpOutcome, name: str) -> None:
    _, status, body, remark = ANSWERS[name]
    reply = replied(outcome, status)
    assert reply.body == body
    assert reply.remarks == (() if remark is None else (remark,))


async def settle() -> None:
    """Let what was written arrive."""
    for _ in range(4):
        await asyncio.sleep(0)


def cuts(answer: bytes) -> list[int]:
    """Every position of a short answer, and those around the ends of lines of a long one."""
    edges = {at + shift for at in range(len(answer)) if answer[at : at + 1] in b"\r\n" for shift in (-1, 0, 1, 2)}
    return [at for at in range(len(answer) + 1) if len(answer) < 300 or at in edges or at % 4001 == 0]


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_means_the_same_wherever_its_bytes_are_cut(sender: HttpSender, name: str) -> None:
    answer = ANSWERS[name][0]
    for at in cuts(answer):

        async def script(conversation: Conversation, at: int = at) -> None:
            await conversation.request()
            await conversation.say(answer[:at])
            await settle()
            await conversation.say(answer[at:])
            await conversation.until_gone()

        async with FaultServer(script) as server:
            outcome = await sender.send(post(server.url))
            body_followed = ANSWERS[name][3] in (EXCESS, MALFORMED) and outcome.remarks == ()  # type: ignore[union-attr]
            if body_followed:  # the excess came after the answer had been taken: nobody can remark it then
                assert replied(outcome, ANSWERS[name][1]).body == ANSWERS[name][2]
            else:
                judged(outcome, name)
        assert len(server.requests) == 1, f"cut at {at}"


@pytest.mark.parametrize("name", ANSWERS)
def test_the_parser_gets_the_same_from_single_bytes(name: str) -> None:
    async def run() -> None:
        for piece in (1, 2, 3, 7, 1000, len(ANSWERS[name][0])):
            wire = HttpConnection(asyncio.get_running_loop())
            wire.accept(65_536)
            wire.begin()
            answer = ANSWERS[name][0]
            for begin in range(0, len(answer), piece):
                wire.data_received(answer[begin : begin + piece])
            message, payload = await wire.answer()
            body, _ = await wire.body(payload, 100)
            assert (message.code, body, wire.remark) == ANSWERS[name][1:], f"pieces of {piece}"

    asyncio.run(run())


@pytest.mark.parametrize("name", [name for name, each in ANSWERS.items() if each[3] is not None])
async def test_the_next_request_goes_over_a_new_connection(sender: HttpSender, name: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(ANSWERS[name][0])
        await conversation.until_gone()

    async with FaultServer(script) as server:
        for _ in range(3):
            judged(await sender.send(post(server.url)), name)
        assert (server.connections, len(server.requests)) == (3, 3)


async def test_the_rest_of_an_earlier_response_is_not_a_response(sender: HttpSender) -> None:
    """The body of a 204 comes when the next request has been written already."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        await conversation.request()
        if conversation.number == 1:
            await conversation.say(b"okHTTP/1.1 204 No Content\r\n\r\n")
        else:
            await conversation.say(OK)
        await conversation.until_gone()

    async with FaultServer(script) as server:
        replied(await sender.send(post(server.url)), 204)
        again = asyncio.ensure_future(sender.send(post(server.url)))
        # The request has been repeated, on a connection whose script answers its first request.
        reply = replied(await asyncio.wait_for(again, PATIENCE_S), 204)
    assert not reply.timing.reused
    assert server.connections == 2


@pytest.mark.parametrize(("size", "fits"), [(MAX_HEAD, True), (MAX_HEAD + 1, False)])
@pytest.mark.parametrize("many", [False, True])
async def test_headers_may_have_64_kib_in_all(sender: HttpSender, size: int, fits: bool, many: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
    if many:
        head += b"".join(b"x-%05d: y\r\n" % n for n in range(5000))[:-2] + b"z" * 2 + b"\r\n"
    head += b"p: " + b"x" * (size - len(head) - 7) + b"\r\n\r\n"
    assert len(head) == size

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(head)
        await conversation.until_gone()

    async with FaultServer(script) as server:
        outcome = await sender.send(post(server.url))
    if fits:
        assert len(replied(outcome, 200).header("p") or "") > 100
    else:
        assert "64 KiB" in refused(outcome, "protocol")
    assert len(server.requests) == 1


async def test_headers_without_end_are_given_up_early(sender: HttpSender) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\n")
        while True:
            await conversation.say(b"x: " + b"y" * 1000 + b"\r\n")

    async with FaultServer(script) as server:
        refused(await sender.send(post(server.url, timeout_s=PATIENCE_S)), "protocol")


@pytest.mark.parametrize("beginning", [b"HTTP/2 200\r\n", b"HTP", b"ok", b"\x15\x03\x01", b"HTTP/1.1 20\r\n\r\n"])
async def test_bytes_that_are_not_a_response_fail_at_once(sender: HttpSender, beginning: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(beginning)
        await conversation.until_gone()

    async with FaultServer(script) as server:
        refused(await sender.send(post(server.url, timeout_s=PATIENCE_S)), "protocol")
        assert len(server.requests) == 1


def test_many_small_pieces_of_a_head_cost_little() -> None:
    """A head of 64 KiB that comes byte by byte is looked through once, not 65,536 times."""
    looked = 0

    class Counting(HttpConnection):
        def _parse(self, head: bytes) -> None:
            nonlocal looked
            looked += 1
            super()._parse(head)

    async def run() -> None:
        wire = Counting(asyncio.get_running_loop())
        wire.accept(65_536)
        wire.begin()
        head = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 60_000 + b"\r\n\r\n"
        for at in range(len(head)):
            wire.data_received(head[at : at + 1])
            assert wire._searched in (0, at + 1) and len(wire._head) in (0, at + 1)
        assert (await wire.answer())[0].code == 200

    asyncio.run(run())
    assert looked == 1
