"""Where every sender may go and whom it believes: addresses, names, redirects, certificates."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from app.adapters.http.egress_guard import BlockedAddress, guard, trust
from app.adapters.http.sender import HttpSender
from app.core.egress import EgressPolicy
from app.core.errors import ConfigError
from tests.contracts.fault_server import Conversation, FaultServer, answering, obliging
from tests.contracts.sender_kit import LOCAL, Names, Open, post, refused, replied
from tests.patience import PATIENCE_S

STRICT = EgressPolicy(allow_http=True)
ONLY_TWO = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.2"]), allow_http=True)


# Addresses


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1"]
)
async def test_an_address_that_is_not_public_is_refused(open_sender: Open, host: str) -> None:
    sender = await open_sender(STRICT)
    async with FaultServer(obliging) as server:
        refused(await sender.send(post(f"http://{host}:{server.port}/")), "blocked_address")
    assert server.connections == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"])
async def test_a_name_for_an_address_that_is_not_public_is_refused(open_sender: Open, address: str) -> None:
    sender = await open_sender(STRICT, resolver=Names(inside_test=[[address]]))
    async with FaultServer(obliging) as server:
        outcome = await sender.send(post(f"http://inside.test:{server.port}/"))
    assert f"The address {address} is" in refused(outcome, "blocked_address")
    assert server.connections == 0


async def test_the_system_resolver_changes_nothing(open_sender: Open) -> None:
    sender = await open_sender(STRICT)
    async with FaultServer(obliging) as server:
        refused(await sender.send(post(f"http://localhost:{server.port}/")), "blocked_address")
    assert server.connections == 0


async def test_the_address_of_a_name_is_checked_for_each_connection(open_sender: Open) -> None:
    """127.0.0.2 stands for a public address; the second lookup (another port, so not cached) gives a forbidden one."""
    sender = await open_sender(ONLY_TWO, resolver=Names(rebind_test=[["127.0.0.2"], ["127.0.0.1"]]))
    async with FaultServer(obliging, host="127.0.0.2") as allowed, FaultServer(obliging) as forbidden:
        replied(await sender.send(post(f"http://rebind.test:{allowed.port}/")), 200)
        refused(await sender.send(post(f"http://rebind.test:{forbidden.port}/")), "blocked_address")
    assert forbidden.connections == 0


@pytest.mark.parametrize("answer", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_of_several_addresses_only_the_permitted_are_tried(open_sender: Open, answer: list[str]) -> None:
    sender = await open_sender(ONLY_TWO, resolver=Names(both_test=[answer]))
    async with FaultServer(obliging) as forbidden:
        await sender.send(post(f"http://both.test:{forbidden.port}/"))
        assert forbidden.connections == 0
    async with FaultServer(obliging, host="127.0.0.2") as allowed:
        replied(await sender.send(post(f"http://both.test:{allowed.port}/")), 200)


@pytest.mark.parametrize(
    "url", ["http://hook.test/", "https://user@hook.test/", "https://hook.test:25/", "https://hook.test/\r\n"]
)
async def test_a_url_that_is_not_permitted_opens_nothing(open_sender: Open, url: str) -> None:
    sender = await open_sender(EgressPolicy(), resolver=Names())
    refused(await sender.send(post(url)), "blocked_address")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(open_sender: Open, status: int) -> None:
    sender = await open_sender()
    async with FaultServer(obliging) as other:
        head = f"HTTP/1.1 {status} Elsewhere\r\nlocation: {other.url}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
        async with FaultServer(answering(head.encode())) as server:
            assert replied(await sender.send(post(server.url)), status).header("location") == other.url
    assert other.connections == 0


def test_the_guard_opens_sockets_only_for_permitted_addresses() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    guard(LOCAL)(address).close()
    with pytest.raises(BlockedAddress, match="loopback"):
        guard(STRICT)(address)


# Certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


NAMES = {"hook_test": [["127.0.0.1"]]}


async def test_a_certificate_of_a_trusted_authority_is_accepted(
    open_sender: Open, authority: trustme.CA, ca_file: Path
) -> None:
    sender = await open_sender(ca_file=ca_file, resolver=Names(**NAMES))
    async with FaultServer(obliging, tls=serving(authority.issue_cert("hook.test"))) as server:
        for reused in (False, True):
            reply = replied(await sender.send(post(f"https://hook.test:{server.port}/")), 200)
            assert reply.timing.reused is reused
    assert server.requests[0].lower().startswith(f"post / http/1.1\r\nhost: hook.test:{server.port}\r\n".encode())


@pytest.mark.parametrize(
    ("fault", "reason"), [("unknown", "unable to get local issuer"), ("expired", "expired"), ("host", "mismatch")]
)
async def test_an_untrusted_certificate_is_refused(
    open_sender: Open, authority: trustme.CA, ca_file: Path, fault: str, reason: str
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = {
        "unknown": lambda: trustme.CA().issue_cert("hook.test"),
        "expired": lambda: authority.issue_cert("hook.test", not_before=past, not_after=past.replace(day=2)),
        "host": lambda: authority.issue_cert("other.test"),
    }[fault]()
    sender = await open_sender(ca_file=ca_file, resolver=Names(**NAMES))
    async with FaultServer(obliging, tls=serving(certificate)) as server:
        outcome = await sender.send(post(f"https://hook.test:{server.port}/"))
    assert reason in refused(outcome, "tls").lower()
    assert server.requests == []


def demanding(context: ssl.SSLContext, listener: socket.socket) -> None:
    """Two connections of a server that sends its alert, which asyncio's does not, and lets the client leave first."""
    for _ in range(2):
        connection, _peer = listener.accept()
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
            try:
                secured.do_handshake()
            except OSError:
                with socket.socket(fileno=os.dup(secured.fileno())) as raw:
                    while raw.recv(65_536):
                        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_receiver_that_demands_a_client_certificate_is_named(
    authority: trustme.CA, ca_file: Path, version: ssl.TLSVersion
) -> None:
    context = serving(authority.issue_cert("hook.test"))
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    sender = HttpSender(LOCAL, ca_file=ca_file, resolver=Names(**NAMES))
    await sender.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=demanding, args=(context, listener), daemon=True).start()
        url = f"https://hook.test:{listener.getsockname()[1]}/"
        for _ in range(2):
            detail = refused(await sender.send(post(url)), "tls")
            if version is ssl.TLSVersion.TLSv1_3:
                assert detail == "The receiver demands a client certificate: set the endpoint's `auth` to mtls."
    await sender.close()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_the_deadline_holds_inside_tls(
    open_sender: Open, authority: trustme.CA, ca_file: Path, said: bytes
) -> None:
    sender = await open_sender(ca_file=ca_file, resolver=Names(**NAMES))
    async with FaultServer(answering(said), tls=serving(authority.issue_cert("hook.test"))) as server:
        outcome = await sender.send(post(f"https://hook.test:{server.port}/", timeout_s=1))
        assert 995 <= outcome.timing.total_ms < PATIENCE_S * 1000
        await asyncio.wait_for(server.ended.wait(), PATIENCE_S)
    if said:
        assert replied(outcome, 200).truncated
    else:
        refused(outcome, "timeout")


async def test_plain_http_on_a_tls_url_is_a_tls_failure(open_sender: Open) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await conversation.until_gone()

    sender = await open_sender()
    async with FaultServer(script) as server:
        refused(await sender.send(post(server.url.replace("http:", "https:"))), "tls")


async def test_a_receiver_that_hangs_up_in_the_handshake_is_a_tls_failure(open_sender: Open) -> None:
    async def script(_: Conversation) -> None:
        """Leave at once."""

    sender = await open_sender()
    async with FaultServer(script) as server:
        refused(await sender.send(post(server.url.replace("http:", "https:"))), "tls")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file_stops_the_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="CA file"):
        trust(path)


def test_endpoints_cannot_be_the_service_itself() -> None:
    policy = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.0/8", "::1/128"]), allow_http=True)
    open_socket = guard(policy, lambda: {8080})
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 8080)),
        (socket.AF_INET, ("127.9.9.9", 8080)),
        (socket.AF_INET6, ("::1", 8080, 0, 0)),
    ):
        with pytest.raises(BlockedAddress, match="this service itself"):
            open_socket((family, socket.SOCK_STREAM, 0, "", address))
    open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 8081))).close()
    open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.43.8", 8080))).close()  # another machine
