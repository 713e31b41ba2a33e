"""Names are looked up without threads, within bounds; names that do not resolve cost the others nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp.abc import ResolveResult

from app.adapters.clock import SystemClock
from app.adapters.dependencies import Dependencies
from app.adapters.http import dns, dns_channel
from app.adapters.http.dns import MAX_ADDRESSES, NameResolver
from app.adapters.http.sender import HttpSender
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.egress import EgressPolicy
from app.core.errors import Hindered
from tests.contracts.dns_server import REFUSED, SERVFAIL, Alias, Entry, NameServer, Silent, Slow
from tests.contracts.fault_server import FaultServer, obliging
from tests.contracts.sender_kit import LOCAL, post, refused, replied
from tests.patience import PATIENCE_S

Ask = Callable[..., Awaitable[NameResolver]]


@pytest.fixture
async def resolver() -> AsyncIterator[Callable[[NameServer], NameResolver]]:
    made: list[NameResolver] = []

    def make(server: NameServer) -> NameResolver:
        made.append(
            NameResolver([server.address], PrometheusMeter(), Dependencies(SystemClock(), PrometheusMeter()).of("dns"))
        )
        return made[-1]

    yield make
    for each in made:
        await each.close()


def addresses(found: list[ResolveResult]) -> list[object]:
    return [each["host"] for each in found]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost."])
async def test_names_of_this_machine_need_no_server(name: str) -> None:
    resolver = NameResolver(["127.0.0.1:9"])
    found = await resolver.resolve(name, 80)
    await resolver.close()
    assert {each["host"] for each in found} <= {"127.0.0.1", "::1"} and found


async def test_answers_of_name_servers(resolver: Callable[[NameServer], NameResolver]) -> None:
    entries: dict[str, Entry] = {
        "both.test": [["192.0.2.7", "2001:db8::7"]],
        "alias.test": Alias("middle.test"),
        "middle.test": Alias("both.test"),
        "many.test": [[f"192.0.2.{n}" for n in range(200)]],
        "slow.test": Slow(0.3, "192.0.2.9"),
        "empty.test": [[]],
        "refuses.test": REFUSED,
    }
    async with NameServer(entries) as server:
        ask = resolver(server)
        assert set(addresses(await ask.resolve("both.test"))) == {"192.0.2.7", "2001:db8::7"}
        assert addresses(await ask.resolve("both.test", family=socket.AF_INET)) == ["192.0.2.7"]
        assert set(addresses(await ask.resolve("alias.test"))) == {"192.0.2.7", "2001:db8::7"}
        assert len(await ask.resolve("many.test")) == MAX_ADDRESSES
        assert server.over_tcp > 0, "an answer that is too large for UDP is asked for over TCP"
        assert addresses(await ask.resolve("slow.test")) == ["192.0.2.9"]
        for name, words in (("empty.test", "no address"), ("nobody.test", "exist"), ("refuses.test", "refused")):
            with pytest.raises(socket.gaierror, match=words):
                await ask.resolve(name)
        for name in ("a" * 64 + ".test", "a..test", "x" * 300):
            with pytest.raises(socket.gaierror):
                await ask.resolve(name)


async def test_lookups_are_measured_and_cached_answers_are_not() -> None:
    meter = PrometheusMeter()
    async with NameServer({"a.test": [["192.0.2.7"]]}) as server:
        resolver = NameResolver([server.address], meter)
        for _ in range(3):
            await resolver.resolve("a.test")
        with pytest.raises(socket.gaierror):
            await resolver.resolve("b.test")
        await resolver.close()
    counts = {line for line in meter.exposition().decode().splitlines() if "dns_lookup_seconds_count{" in line}
    assert counts == {
        'hookstream_dns_lookup_seconds_count{result="found"} 1.0',
        'hookstream_dns_lookup_seconds_count{result="not_found"} 1.0',
    }


async def test_resolved_and_missing_names_are_cached_for_a_while(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with NameServer({"good.test": [["192.0.2.1"], ["192.0.2.2"]]}) as server:
        ask = resolver(server)
        for _ in range(5):
            assert addresses(await ask.resolve("good.test")) == ["192.0.2.1"]
            with pytest.raises(socket.gaierror):
                await ask.resolve("nobody.test")
        assert (server.asked["good.test"], server.asked["nobody.test"]) == (1, 1)
        await asyncio.sleep(1.1)
        assert addresses(await ask.resolve("good.test")) == ["192.0.2.1"], "its time to live is longer"
        server.ttl = 0
        monkeypatch.setattr(dns, "LONGEST_S", 0.0)
        ask._remembered.clear()
        assert addresses(await ask.resolve("good.test")) == ["192.0.2.2"]


async def test_memory_of_names_is_bounded(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "REMEMBERED", 10)
    async with NameServer({}) as server:
        ask = resolver(server)
        await asyncio.gather(*(ask.resolve(f"n{n}.test") for n in range(50)), return_exceptions=True)
        assert len(ask._remembered) == 10
        assert not ask._lookups and not ask._busy and not ask._queue and not ask._shares


async def test_callers_share_a_lookup_and_the_last_cancellation_ends_it(
    resolver: Callable[[NameServer], NameResolver],
) -> None:
    async with NameServer({"dead.test": Silent(), "slow.test": Slow(0.3, "192.0.2.1")}) as server:
        ask = resolver(server)
        first, second, third = (asyncio.ensure_future(ask.resolve("slow.test")) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        assert addresses(await second) == addresses(await third) == ["192.0.2.1"]
        assert server.asked["slow.test"] == 1
        hanging = [asyncio.ensure_future(ask.resolve("dead.test")) for _ in range(10)]
        await asyncio.sleep(0)
        assert len(ask._lookups) == 1
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert not ask._lookups and not ask._busy


async def test_hundreds_of_dead_names_do_not_delay_a_good_one(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More dead names than there are places, of as many domains: the good one is sent to while all of them hang."""
    monkeypatch.setattr(dns, "LOOKUPS", 32)
    dead = {f"a{n}.dead{n}.test": Silent() for n in range(400)}
    async with NameServer({**dead, "good.test": [["127.0.0.1"]]}) as server, FaultServer(obliging) as receiver:
        sender = HttpSender(LOCAL, resolver=resolver(server))
        await sender.start()
        hanging = [asyncio.ensure_future(sender.send(post(f"http://{name}/", timeout_s=PATIENCE_S))) for name in dead]
        while not server.asked:
            await asyncio.sleep(0.01)
        outcome = await sender.send(post(f"http://good.test:{receiver.port}/", timeout_s=PATIENCE_S))
        replied(outcome, 200)
        ended = sum(each.done() for each in hanging)
        assert ended < 400, "it came through while dead ones were hanging"
        outcomes = await asyncio.wait_for(asyncio.gather(*hanging), PATIENCE_S)
        assert all(refused(each, "dns").endswith("its name servers do not answer.") for each in outcomes)
        await sender.close()


async def test_one_domain_has_its_share_and_no_more(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "SHARE", 4)
    monkeypatch.setattr(dns, "TURN_S", 3600.0)
    dead = {f"n{n}.bad.test": Silent() for n in range(50)}
    async with NameServer({**dead, "good.other.test": [["192.0.2.1"]]}) as server:
        ask = resolver(server)
        # The shares are those of `bad.test` and `other.test`; TURN_S keeps the places of the dead ones taken.
        hanging = [asyncio.ensure_future(ask.resolve(name)) for name in dead]
        await asyncio.sleep(0)
        assert (len(ask._busy), len(ask._queue)) == (4, 46)
        assert addresses(await asyncio.wait_for(ask.resolve("good.other.test"), PATIENCE_S)) == ["192.0.2.1"]
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert not ask._busy and not ask._queue and not ask._shares


async def test_a_cancelled_attempt_cancels_its_lookup(resolver: Callable[[NameServer], NameResolver]) -> None:
    async with NameServer({"dead.test": Silent()}) as server:
        ask = resolver(server)
        sender = HttpSender(LOCAL, resolver=ask)
        await sender.start()
        sending = asyncio.ensure_future(sender.send(post("http://dead.test/", timeout_s=60)))
        while not server.asked:
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert not ask._lookups and not ask._busy
        refused(await sender.send(post("http://dead.test/", timeout_s=0.2)), "timeout")
        assert not ask._lookups
        await sender.close()


async def test_the_address_that_is_connected_to_is_checked(
    resolver: Callable[[NameServer], NameResolver],
) -> None:
    only_two = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.2"]), allow_http=True)
    entries: dict[str, Entry] = {"rebind.test": [["127.0.0.2"], ["127.0.0.1"]]}
    async with (
        NameServer(entries, ttl=0) as server,
        FaultServer(obliging, host="127.0.0.2") as allowed,
        FaultServer(obliging) as forbidden,
    ):
        ask = resolver(server)
        sender = HttpSender(only_two, resolver=ask)
        await sender.start()
        replied(await sender.send(post(f"http://rebind.test:{allowed.port}/")), 200)
        ask._remembered.clear()
        refused(await sender.send(post(f"http://rebind.test:{forbidden.port}/")), "blocked_address")
        assert forbidden.connections == 0
        await sender.close()


# Whose fault it is


@pytest.mark.parametrize("root", [Silent(), SERVFAIL])
async def test_silent_own_name_servers_are_a_hindrance(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch, root: Entry
) -> None:
    monkeypatch.setattr(dns_channel, "TRY_S", 0.1)
    monkeypatch.setattr(dns, "LOOK_S", 0.05)
    entry: Entry = Silent() if isinstance(root, Silent) else SERVFAIL
    async with NameServer({"good.test": entry}, root=root) as server:
        ask = resolver(server)
        with pytest.raises(Hindered, match="name servers do not answer") as raised:
            await ask.resolve("good.test")
        assert raised.value.cause == "dns"
        assert ask.trouble is not None
        assert "name servers" in str(ask._status.trouble)  # type: ignore[union-attr]
        with pytest.raises(Hindered):
            await ask.resolve("other.test")
        assert await ask.resolve("localhost"), "/etc/hosts is read all the same"
        server.root, server.entries["good.test"] = ((),), [["192.0.2.1"]]
        async with asyncio.timeout(PATIENCE_S):
            while ask.trouble is not None:
                await asyncio.sleep(0.01)
        assert addresses(await ask.resolve("good.test")) == ["192.0.2.1"]
        assert ask._status.trouble is None


@pytest.mark.parametrize(("entry", "words"), [(Silent(), "do not answer"), (SERVFAIL, "failed")])
async def test_silent_name_servers_of_a_domain_are_a_failure_of_its_owner(
    resolver: Callable[[NameServer], NameResolver], monkeypatch: pytest.MonkeyPatch, entry: Entry, words: str
) -> None:
    monkeypatch.setattr(dns_channel, "TRY_S", 0.1)
    async with NameServer({"dead.test": entry}) as server:
        ask = resolver(server)
        with pytest.raises(socket.gaierror, match=words):
            await ask.resolve("dead.test")
        assert ask.trouble is None


async def test_a_missing_name_server_is_a_hindrance() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    sender = HttpSender(LOCAL, resolver=NameResolver([f"127.0.0.1:{port}"]))
    await sender.start()
    with pytest.raises(Hindered):
        await sender.send(post("http://good.test/"))
    assert sender.trouble() is not None
    await sender.close()
