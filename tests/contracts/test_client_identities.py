"""Client certificates, towards servers that demand them (OpenSSL by way of Python's `ssl` and asyncio)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiohttp import web

from app.adapters.http import client_identities
from app.adapters.http.egress_proxy import EgressProxy
from app.adapters.http.sender import HttpSender
from app.core.egress_proxy import ProxyAddress, ProxyExceptions
from app.core.model.http_exchange import HttpRequest, TlsIdentity
from tests.contracts.client_certificates import identity
from tests.contracts.sender_kit import LOCAL, Names, post, refused, replied
from tests.real_proxy import real_proxy

NAMES = {"hook_test": [["127.0.0.1"]], "other_test": [["127.0.0.1"]]}


class Receiver:
    """Demands certificates of an authority, and says whose each request and connection was."""

    def __init__(self) -> None:
        #: (connection, common name) of each request
        self.seen: list[tuple[int, str]] = []
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate: Any = request.transport.get_extra_info("peercert")
        subject = dict(pair for group in certificate["subject"] for pair in group)
        self.seen.append((id(request.transport), subject["commonName"]))
        return web.Response(text="ok")

    @property
    def url(self) -> str:
        return f"https://hook.test:{self.port}/"


@asynccontextmanager
async def demanding(
    authority: trustme.CA, clients: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.test", "localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    clients.configure_trust(context)
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/", receiver.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[HttpSender]:
    sender = HttpSender(LOCAL, resolver=Names(**NAMES), **options)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close()


def request_as(url: str, who: TlsIdentity) -> HttpRequest:
    return msgspec.structs.replace(post(url), credential=who)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    return trustme.CA(organization_name="clients")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_certificate_is_presented_and_the_connection_reused(
    authority: trustme.CA, clients: trustme.CA, version: ssl.TLSVersion
) -> None:
    who = identity("ep_1", clients.issue_cert("acme@x", common_name="acme"), authority)
    async with demanding(authority, clients, version) as receiver, opened() as sender:
        for reused in (False, True):
            assert replied(await sender.send(request_as(receiver.url, who)), 200).timing.reused is reused
        assert [name for _, name in receiver.seen] == ["acme", "acme"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_without_a_certificate_or_with_a_foreign_one_nothing_arrives(
    authority: trustme.CA, clients: trustme.CA, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with demanding(authority, clients, version) as receiver, opened(ca_file=tmp_path / "ca.pem") as sender:
        foreign = identity("ep_1", trustme.CA().issue_cert("evil@x", common_name="evil"))
        for request in (post(receiver.url), request_as(receiver.url, foreign)):
            outcome = await sender.send(request)
            assert getattr(outcome, "kind", None) in ("tls", "reset"), outcome
        assert receiver.seen == []


async def test_no_connection_is_ever_used_for_another_identity(authority: trustme.CA, clients: trustme.CA) -> None:
    """Neither for another certificate, nor for another endpoint with the same one, nor for requests without any."""
    acme, other = (clients.issue_cert(f"{name}@x", common_name=name) for name in ("acme", "other"))
    who = [identity("ep_1", acme, authority), identity("ep_2", acme, authority), identity("ep_3", other, authority)]
    async with demanding(authority, clients) as receiver, opened() as sender:
        for _ in range(3):
            for each in who:
                replied(await sender.send(request_as(receiver.url, each)), 200)
        connections = [connection for connection, _ in receiver.seen]
        assert connections == connections[:3] * 3 and len(set(connections)) == 3
        assert [name for _, name in receiver.seen] == ["acme", "acme", "other"] * 3
        refused(await sender.send(post(receiver.url)), "tls")


async def test_a_burst_of_many_identities_stays_apart(authority: trustme.CA, clients: trustme.CA) -> None:
    names = [f"c{number}" for number in range(6)]
    who = {name: identity(f"ep_{name}", clients.issue_cert(f"{name}@x", common_name=name), authority) for name in names}
    async with demanding(authority, clients) as receiver, opened() as sender:
        requests = [request_as(f"{receiver.url}", who[name]) for name in names * 5]
        for outcome in await asyncio.gather(*map(sender.send, requests)):
            replied(outcome, 200)
        owners: dict[int, set[str]] = {}
        for connection, name in receiver.seen:
            owners.setdefault(connection, set()).add(name)
        assert all(len(each) == 1 for each in owners.values())
        assert sorted(name for _, name in receiver.seen) == sorted(names * 5)


async def test_a_new_certificate_opens_new_connections(authority: trustme.CA, clients: trustme.CA) -> None:
    before, after = (clients.issue_cert(f"{name}@x", common_name=name) for name in ("before", "after"))
    async with demanding(authority, clients) as receiver, opened() as sender:
        for certificate in (before, after):
            replied(await sender.send(request_as(receiver.url, identity("ep_1", certificate, authority))), 200)
        assert [name for _, name in receiver.seen] == ["before", "after"]


async def test_an_authority_of_its_own_is_the_only_one_that_is_trusted(
    authority: trustme.CA, clients: trustme.CA, tmp_path: Path
) -> None:
    certificate = clients.issue_cert("acme@x", common_name="acme")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with demanding(authority, clients) as receiver, opened(ca_file=tmp_path / "ca.pem") as sender:
        replied(await sender.send(request_as(receiver.url, identity("ep_1", certificate))), 200)
        another = identity("ep_1", certificate, trustme.CA())
        detail = refused(await sender.send(request_as(receiver.url, another)), "tls")
        assert "not trusted" in detail
        wrong_host = receiver.url.replace("hook.test", "other.test")
        refused(await sender.send(request_as(wrong_host, identity("ep_1", certificate, authority))), "tls")


async def test_certificates_are_presented_through_the_proxy(authority: trustme.CA, clients: trustme.CA) -> None:
    who = identity("ep_1", clients.issue_cert("acme@x", common_name="acme"), authority)
    async with real_proxy() as port, demanding(authority, clients) as receiver:
        proxy = EgressProxy(ProxyAddress.parse(f"http://127.0.0.1:{port}"), ProxyExceptions(()))
        async with opened(proxy=proxy) as sender:
            for reused in (False, True):
                assert replied(await sender.send(request_as(receiver.url, who)), 200).timing.reused is reused
        assert [name for _, name in receiver.seen] == ["acme", "acme"]


async def test_a_certificate_that_openssl_does_not_take_is_not_sent(authority: trustme.CA) -> None:
    certificate = authority.issue_cert("acme@x")
    broken = TlsIdentity.of("ep_1", certificate="nothing", private_key="nothing", authority=None)
    swapped = msgspec.structs.replace(identity("ep_1", certificate), private_key="-----BEGIN PRIVATE KEY-----\n")
    async with opened() as sender:
        for who in (broken, swapped):
            refused(await sender.send(request_as("https://hook.test:1/", who)), "not_sent")
        forbidden = request_as("https://user@hook.test/", identity("ep_1", certificate))
        refused(await sender.send(forbidden), "blocked_address")


async def test_contexts_in_memory_are_bounded(
    authority: trustme.CA, clients: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_identities, "MAX_IDENTITIES", 2)
    certificate = clients.issue_cert("acme@x", common_name="acme")
    async with demanding(authority, clients) as receiver, opened() as sender:
        for number in (1, 2, 3, 1, 3):
            replied(await sender.send(request_as(receiver.url, identity(f"ep_{number}", certificate, authority))), 200)
        assert len(sender._identities._targets) == 2
        assert len({connection for connection, _ in receiver.seen}) == 4, "the first one was forgotten, and built again"


def test_private_keys_are_not_printed_and_leave_no_file(authority: trustme.CA, tmp_path: Path) -> None:
    who = identity("ep_1", authority.issue_cert("acme@x"))
    assert "PRIVATE" not in repr(who) + repr(request_as("https://hook.test/", who))
    client_identities.client_context(who)
    assert list(tmp_path.iterdir()) == []
