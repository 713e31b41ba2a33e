"""What every sender does with every kind of receiver, good, bad and hostile."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest

from app.core.errors import Defect
from app.core.model.http_exchange import HttpOutcome, HttpRequest
from tests.contracts.fault_server import OK, Conversation, FaultServer, Script, answering, obliging
from tests.contracts.sender_kit import Names, Open, post, refused, replied
from tests.patience import PATIENCE_S

#: seconds that must expire: enough to connect, and to send and read a head, on a busy machine
DEADLINE_S = 1


async def exchange(open_sender: Open, script: Script, **options: float) -> tuple[HttpOutcome, FaultServer]:
    sender = await open_sender()
    async with FaultServer(script) as server:
        return await sender.send(post(server.url, **options)), server  # type: ignore[arg-type]


# The ordinary


async def test_a_regular_response_is_returned_completely(open_sender: Open) -> None:
    outcome, server = await exchange(open_sender, obliging)
    reply = replied(outcome, 200)
    assert (reply.body, reply.truncated, reply.header("content-length")) == (b"ok", False, "2")
    assert 0 < reply.timing.connect_ms <= reply.timing.total_ms
    assert 0 < reply.timing.first_byte_ms <= reply.timing.total_ms
    assert not reply.timing.reused
    assert len(server.requests) == 1


async def test_the_request_has_our_headers_in_order_and_the_body_untouched(open_sender: Open) -> None:
    sender = await open_sender()
    async with FaultServer(obliging) as server:
        await sender.send(post(server.url + "/%7Ea?b=c%20d&e", user_agent="H/1", X_One="1", x_name="Grüße", x_empty=""))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    assert (line, body) == (b"POST /hook/%7Ea?b=c%20d&e HTTP/1.1", b'{"a":1}')
    assert [(name.lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)] == [
        (b"host", f"127.0.0.1:{server.port}".encode()),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"H/1"),
        (b"x-one", b"1"),
        (b"x-name", "Grüße".encode()),
        (b"x-empty", b""),
        (b"content-length", b"7"),
    ]


@pytest.mark.parametrize(("name", "value"), [("x-a", "1\r\nx-b: 2"), ("x-a", "1\n2"), ("x\r", "1"), ("x-a", "\ud800")])
async def test_a_header_that_cannot_be_one_line_is_a_defect(open_sender: Open, name: str, value: str) -> None:
    sender = await open_sender()
    async with FaultServer(obliging) as server:
        request = HttpRequest(url=server.url, headers=((name, value),), body=b"{}", timeout_s=1)
        with pytest.raises(Defect):
            await sender.send(request)
    assert server.requests == []


@pytest.mark.parametrize("status", [201, 299, 302, 400, 404, 410, 429, 500, 503, 599])
async def test_every_status_is_a_reply(open_sender: Open, status: int) -> None:
    answer = f"HTTP/1.1 {status} Whatever\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n"
    outcome, _ = await exchange(open_sender, answering(answer.encode()))
    reply = replied(outcome, status)
    assert (reply.body, reply.truncated, reply.header("retry-after")) == (b"", False, "7")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_keep_the_connection(open_sender: Open, status: int) -> None:
    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await conversation.say(f"HTTP/1.1 {status} X\r\n\r\n".encode())

    sender = await open_sender()
    async with FaultServer(script) as server:
        replied(await sender.send(post(server.url)), status)
        assert replied(await sender.send(post(server.url)), status).timing.reused
    assert server.connections == 1


async def test_a_protocol_switch_ends_the_connection(open_sender: Open) -> None:
    switch = b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x00"
    sender = await open_sender()
    async with FaultServer(answering(switch)) as server:
        for _ in range(2):
            replied(await sender.send(post(server.url)), 101)
    assert server.connections == 2


async def test_a_connection_is_reused(open_sender: Open) -> None:
    sender = await open_sender()
    async with FaultServer(obliging) as server:
        for turn in range(5):
            reply = replied(await sender.send(post(server.url)), 200)
            assert reply.timing.reused is (turn > 0)
            assert (reply.timing.connect_ms == 0) is (turn > 0)
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.0 200 OK\r\n\r\nok"]
)
async def test_a_receiver_that_closes_is_connected_to_again(open_sender: Open, answer: bytes) -> None:
    sender = await open_sender()
    async with FaultServer(answering(answer, stay=False)) as server:
        for _ in range(2):
            reply = replied(await sender.send(post(server.url)), 200)
            assert (reply.body, reply.truncated, reply.timing.reused) == (b"ok", False, False)
    assert server.connections == 2


async def test_200_at_once_get_a_connection_each(open_sender: Open) -> None:
    everyone = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if len(server.requests) == 200:
            everyone.set()
        await everyone.wait()
        await conversation.say(OK)
        await conversation.until_gone()

    sender = await open_sender()
    async with FaultServer(script) as server:
        outcomes = await asyncio.gather(*(sender.send(post(server.url)) for _ in range(200)))
        assert all(replied(outcome, 200) for outcome in outcomes)
        assert server.connections == 200


# Bodies


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe", b"llo\r\n6\r\n world\r\n", b"0\r\n\r\n"),
        (b"HTT", b"P/1.1 200 OK\r\ncontent-le", b"ngth: 11\r\n\r\nhello ", b"world"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world"),
    ],
)
async def test_a_chunked_body_is_assembled(open_sender: Open, pieces: tuple[bytes, ...]) -> None:
    outcome, _ = await exchange(open_sender, answering(*pieces))
    reply = replied(outcome, 200)
    assert (reply.body, reply.truncated) == (b"hello world", False)


async def test_a_compressed_body_is_left_as_it_is(open_sender: Open) -> None:
    packed = gzip.compress(b"a" * 1000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    outcome, _ = await exchange(open_sender, answering(head.encode() + packed))
    assert replied(outcome, 200).body == packed


async def test_only_the_beginning_of_a_big_body_is_read(open_sender: Open) -> None:
    sent = 0

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
        while sent < 10_000_000:
            await conversation.say(b"x" * 10_000)
            sent += 10_000

    sender = await open_sender()
    async with FaultServer(script) as server:
        reply = replied(await sender.send(post(server.url)), 200)
        await server.ended.wait()
    assert (reply.body, reply.truncated) == (b"x" * 65_536, True)
    assert sent < 10_000_000


async def test_the_cap_is_exact(open_sender: Open) -> None:
    sender = await open_sender(response_cap=10)
    for size, truncated in ((10, False), (11, True)):
        answer = f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{'x' * size}"
        async with FaultServer(answering(answer.encode())) as server:
            reply = replied(await sender.send(post(server.url)), 200)
        assert (reply.body, reply.truncated) == (b"x" * 10, truncated)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n32\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_body_that_breaks_off_leaves_the_status(open_sender: Open, answer: bytes) -> None:
    outcome, server = await exchange(open_sender, answering(answer, stay=False))
    reply = replied(outcome, 200)
    assert reply.truncated
    assert reply.body in (b"half", b"")
    assert len(server.requests) == 1


async def test_a_body_longer_than_announced_does_not_answer_the_next_request(open_sender: Open) -> None:
    sender = await open_sender()
    lie = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    async with FaultServer(answering(lie)) as server:
        for _ in range(2):
            replied(await sender.send(post(server.url)), 200)
    assert server.connections == 2


# Deadlines


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nx: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
async def test_a_receiver_that_does_not_finish_its_headers_times_out(open_sender: Open, said: bytes) -> None:
    outcome, server = await exchange(open_sender, answering(said), timeout_s=DEADLINE_S)
    assert "no answer within 1 s" in refused(outcome, "timeout")
    assert DEADLINE_S * 900 <= outcome.timing.total_ms < PATIENCE_S * 1000
    await asyncio.wait_for(server.ended.wait(), PATIENCE_S)


@pytest.mark.parametrize("head", [b"content-length: 9\r\n", b"transfer-encoding: chunked\r\n", b""])
async def test_a_slow_body_is_cut_at_the_deadline(open_sender: Open, head: bytes) -> None:
    outcome, server = await exchange(
        open_sender, answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n4\r\n"), timeout_s=DEADLINE_S
    )
    reply = replied(outcome, 200)
    assert reply.truncated
    assert DEADLINE_S * 900 <= reply.timing.total_ms < PATIENCE_S * 1000
    await asyncio.wait_for(server.ended.wait(), PATIENCE_S)


async def test_the_deadline_covers_the_handshake(open_sender: Open) -> None:
    sender = await open_sender()
    async with FaultServer(Conversation.until_gone) as server:
        outcome = await sender.send(post(server.url.replace("http:", "https:"), timeout_s=DEADLINE_S))
        assert "no connection within 1 s" in refused(outcome, "timeout")
        assert DEADLINE_S * 900 <= outcome.timing.total_ms < PATIENCE_S * 1000
        await asyncio.wait_for(server.ended.wait(), PATIENCE_S)


async def test_the_deadline_covers_a_receiver_that_does_not_read(open_sender: Open) -> None:
    async def script(conversation: Conversation) -> None:
        await server.release.wait()  # type: ignore[attr-defined]

    sender = await open_sender()
    async with FaultServer(script, receive_buffer=4096) as server:
        server.release = asyncio.Event()  # type: ignore[attr-defined]
        refused(await sender.send(post(server.url, body=b"x" * 1_000_000, timeout_s=DEADLINE_S)), "timeout")


async def test_a_slow_reader_gets_the_whole_body(open_sender: Open) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request(piece=1000)
        await conversation.say(OK)
        await conversation.until_gone()

    body = bytes(range(256)) * 1024
    sender = await open_sender()
    async with FaultServer(script, receive_buffer=4096) as server:
        replied(await sender.send(post(server.url, body=body)), 200)
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


async def test_an_early_response_is_read(open_sender: Open) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()

    sender = await open_sender()
    async with FaultServer(script, receive_buffer=4096) as server:
        replied(await sender.send(post(server.url, body=b"x" * 1_000_000)), 413)


async def test_cancelling_closes_the_connection(open_sender: Open) -> None:
    asked = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await conversation.until_gone()

    sender = await open_sender()
    async with FaultServer(script) as server:
        sending = asyncio.ensure_future(sender.send(post(server.url)))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(server.ended.wait(), PATIENCE_S)


# Broken receivers


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nx:"])
@pytest.mark.parametrize("orderly", [True, False])
async def test_a_broken_fresh_connection_is_not_retried(open_sender: Open, said: bytes, orderly: bool) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(said)
        if not orderly:
            conversation.reset()

    outcome, server = await exchange(open_sender, script)
    refused(outcome, "reset")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x16", b"HTTP/2.0 200\r\r\r", b"\0" * 100]
)
async def test_bytes_that_are_not_http_are_a_protocol_failure(open_sender: Open, said: bytes) -> None:
    outcome, _ = await exchange(open_sender, answering(said))
    assert "not an HTTP/1.1 answer" in refused(outcome, "protocol")


async def test_a_refused_port_is_named(open_sender: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sender = await open_sender()
    refused(await sender.send(post(f"http://127.0.0.1:{port}/")), "refused")


async def test_an_unresolvable_name_is_named(open_sender: Open) -> None:
    sender = await open_sender(resolver=Names())
    outcome = await sender.send(post("http://nowhere.test/"))
    assert refused(outcome, "dns") == "The name nowhere.test does not resolve: Name or service not known."


async def test_header_bytes_that_are_not_utf_8_can_be_stored(open_sender: Open) -> None:
    outcome, _ = await exchange(
        open_sender, answering(b"HTTP/1.1 200 OK\r\nx: a\xff\xc3\xbc\r\ncontent-length: 0\r\n\r\n")
    )
    assert replied(outcome, 200).header("x") == "a\ufffdü"


# Kept connections that are dead


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_dead_kept_connection_costs_one_repetition(open_sender: Open, orderly: bool) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(OK)
        await conversation.request()
        if conversation.number > 1:
            await conversation.say(OK)
        elif not orderly:
            conversation.reset()

    sender = await open_sender()
    async with FaultServer(script) as server:
        replied(await sender.send(post(server.url)), 200)
        again = replied(await sender.send(post(server.url)), 200)
    assert not again.timing.reused
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_kept_connection_that_broke_inside_the_answer_is_not_repeated(open_sender: Open) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(OK)
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nx")

    sender = await open_sender()
    async with FaultServer(script) as server:
        replied(await sender.send(post(server.url)), 200)
        refused(await sender.send(post(server.url)), "reset")
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_connection_that_was_closed_while_idle_is_not_used(open_sender: Open) -> None:
    sender = await open_sender()
    async with FaultServer(answering(OK, stay=False)) as server:
        for _ in range(3):
            replied(await sender.send(post(server.url)), 200)
            await server.ended.wait()
    assert len(server.requests) == 3
