"""Requests through a proxy: a real one (proxy.py), and hostile ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from app.adapters.http.egress_proxy import EgressProxy
from app.adapters.http.sender import HttpSender
from app.core.egress import EgressPolicy
from app.core.egress_proxy import ProxyAddress, ProxyExceptions
from app.core.errors import Hindered
from tests.contracts.fault_server import Conversation, FaultServer, Script, obliging
from tests.contracts.sender_kit import LOCAL, Names, post, refused, replied
from tests.contracts.test_sender_egress import serving
from tests.ports import free_port
from tests.real_proxy import real_proxy


def proxying(answer: bytes) -> Script:
    """A proxy that answers CONNECT with these bytes, and closes after a second request or none."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.say(answer)
        if b" 200 " in answer:
            await conversation.until_gone()

    return script


@asynccontextmanager
async def through(
    url: str, *exceptions: str, policy: EgressPolicy = LOCAL, names: Names | None = None, ca_file: Path | None = None
) -> AsyncIterator[HttpSender]:
    proxy = EgressProxy(ProxyAddress.parse(url), ProxyExceptions(exceptions))
    sender = HttpSender(policy, proxy=proxy, resolver=names or Names(), ca_file=ca_file)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close()


async def test_requests_go_through_a_real_proxy_with_credentials_and_keep_their_connection() -> None:
    async with (
        real_proxy("--basic-auth", "user:p@ss") as port,
        through(f"http://user:p%40ss@127.0.0.1:{port}", names=Names(hook_test=[["127.0.0.1"]])) as sender,
        FaultServer(obliging) as server,
    ):
        for reused in (False, True):
            answer = replied(await sender.send(post(f"http://hook.test:{server.port}/")), 200)
            assert answer.timing.reused is reused
        assert b"proxy-authorization" not in server.requests[0].lower()


async def test_tls_is_spoken_with_the_receiver_and_its_certificate_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    names = Names(hook_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    async with (
        real_proxy() as port,
        through(f"http://127.0.0.1:{port}", names=names, ca_file=tmp_path / "ca.pem") as sender,
        FaultServer(obliging, tls=serving(authority.issue_cert("hook.test"))) as server,
    ):
        replied(await sender.send(post(f"https://hook.test:{server.port}/")), 200)
        detail = refused(await sender.send(post(f"https://other.test:{server.port}/")), "tls")
        assert "certificate" in detail


async def test_wrong_credentials_are_no_fault_of_the_receiver() -> None:
    async with real_proxy("--basic-auth", "user:right") as port, FaultServer(obliging) as server:
        async with through(f"http://user:wrong@127.0.0.1:{port}") as sender:
            with pytest.raises(Hindered, match=r"egress proxy .* answers 407") as caught:
                await sender.send(post(server.url))
        assert (caught.value.cause, server.connections) == ("proxy", 0)


async def test_a_proxy_that_does_not_listen_is_no_fault_of_the_receiver() -> None:
    async with FaultServer(obliging) as server, through(f"http://127.0.0.1:{free_port()}") as sender:
        with pytest.raises(Hindered, match="cannot be reached"):
            await sender.send(post(server.url))
        assert server.connections == 0


async def test_exceptions_go_directly() -> None:
    async with FaultServer(obliging) as server, through(f"http://127.0.0.1:{free_port()}", "127.0.0.0/8") as sender:
        replied(await sender.send(post(server.url)), 200)


async def test_the_guard_judges_addresses_before_the_proxy_is_asked() -> None:
    names = Names(inner_test=[["10.0.0.1"]], mixed_test=[["10.0.0.1", "127.0.0.1"]])
    async with FaultServer(proxying(b"HTTP/1.1 200 Fine\r\n\r\n")) as proxy:
        async with through(f"http://127.0.0.1:{proxy.port}", names=names) as sender:
            refused(await sender.send(post("http://inner.test/")), "blocked_address")
            assert proxy.connections == 0
            refused(await sender.send(post("http://mixed.test:81/", timeout_s=0.5)), "timeout")
        assert proxy.requests[0].startswith(b"CONNECT 127.0.0.1:81 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\n\r\nbytes before the receiver can have sent any",
        b"HTTP/1.1 200 Fine\r\nx: " + b"y" * 40_000,
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
    ],
    ids=["closes", "no HTTP", "too much", "too long", "407", "400", "503"],
)
async def test_a_broken_proxy_is_no_fault_of_the_receiver(answer: bytes) -> None:
    async with FaultServer(proxying(answer)) as proxy, through(f"http://127.0.0.1:{proxy.port}") as sender:
        with pytest.raises(Hindered) as caught:
            await sender.send(post("http://127.0.0.1:81/"))
        assert caught.value.cause == "proxy"


@pytest.mark.parametrize(
    "header", [b"Proxy-Status: squid; error=connection_refused", b"X-Squid-Error: ERR_CONNECT_FAIL 111"]
)
async def test_a_receiver_that_the_proxy_names_is_at_fault(header: bytes) -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\n" + header + b"\r\n\r\n"
    async with FaultServer(proxying(answer)) as proxy, through(f"http://127.0.0.1:{proxy.port}") as sender:
        detail = refused(await sender.send(post("http://127.0.0.1:81/")), "connect")
        assert "proxy cannot reach the receiver (503 Service Unavailable)" in detail


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 407 Request rejected by proxy\r\nX-Smokescreen-Error: host is not allowed\r\n\r\n",
    ],
)
async def test_a_destination_that_the_proxy_forbids_is_blocked(answer: bytes) -> None:
    async with FaultServer(proxying(answer)) as proxy, through(f"http://127.0.0.1:{proxy.port}") as sender:
        assert "proxy" in refused(await sender.send(post("http://127.0.0.1:81/")), "blocked_address")


async def test_a_proxy_that_has_opened_a_tunnel_is_believed() -> None:
    """It reports that the receiver cannot be reached, without a word about whose fault that is."""
    async with real_proxy() as port, FaultServer(obliging) as server, through(f"http://127.0.0.1:{port}") as sender:
        replied(await sender.send(post(server.url)), 200)
        refused(await sender.send(post(f"http://127.0.0.1:{free_port()}/")), "connect")


async def test_a_silent_proxy_is_no_fault_of_the_receiver() -> None:
    async def silent(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.until_gone()

    async with FaultServer(silent) as proxy, through(f"http://127.0.0.1:{proxy.port}") as sender:
        with pytest.raises(Hindered, match="does not answer in time"):
            await sender.send(post("http://127.0.0.1:81/", timeout_s=0.3))
