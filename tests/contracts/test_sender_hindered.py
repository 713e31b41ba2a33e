"""What this machine lacks is never charged to an endpoint."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.adapters.http.hindrances import has_route, hindrance
from app.adapters.http.sender import HttpSender
from app.core.errors import Hindered
from tests.contracts.fault_server import FaultServer, obliging
from tests.contracts.sender_kit import LOCAL, Names, post, refused, replied
from tests.patience import PATIENCE_S

V4, V6 = socket.AF_INET, socket.AF_INET6


def joined(*numbers: int) -> OSError:
    """What comes of several addresses that failed in different ways."""
    return OSError("Multiple exceptions: " + ", ".join(f"[Errno {each}] x" for each in numbers))


@pytest.mark.parametrize(
    ("error", "families", "routes", "cause"),
    [
        (OSError(errno.EMFILE, "x"), {V4}, {V4}, "descriptors"),
        (OSError(errno.ENFILE, "x"), {V4}, {V4}, "descriptors"),
        (OSError(errno.ENOMEM, "x"), {V4}, {V4}, "memory"),
        (OSError(errno.ENOBUFS, "x"), {V4}, {V4}, "memory"),
        (joined(errno.ECONNREFUSED, errno.EMFILE), {V4, V6}, {V4}, "descriptors"),
        (OSError(errno.EADDRNOTAVAIL, "x"), {V4}, {V4}, "ports"),
        (OSError(errno.EADDRNOTAVAIL, "x"), {V4, V6}, {V4}, "ports"),
        (joined(errno.EADDRNOTAVAIL, errno.ENETUNREACH), {V4, V6}, {V4, V6}, "ports"),
        # an address family that this machine does not have
        (OSError(errno.EADDRNOTAVAIL, "x"), {V6}, {V4}, None),
        (OSError(errno.ENETUNREACH, "x"), {V6}, {V4}, None),
        (joined(errno.EADDRNOTAVAIL, errno.EHOSTUNREACH), {V4, V6}, {V4}, None),
        (joined(errno.EADDRNOTAVAIL, errno.ECONNREFUSED), {V4, V6}, {V4}, None),
        # nothing works
        (OSError(errno.ENETUNREACH, "x"), {V4}, set(), "network"),
        (joined(errno.ENETUNREACH, errno.EHOSTUNREACH), {V4, V6}, set(), "network"),
        # the receiver, or somebody on the way to it
        (OSError(errno.EHOSTUNREACH, "x"), {V4}, {V4}, None),
        (OSError(errno.ECONNREFUSED, "x"), {V4}, set(), None),
        (OSError(errno.ETIMEDOUT, "x"), {V4}, set(), None),
        (RuntimeError("x"), {V4}, set(), None),
    ],
)
def test_failures_to_connect_are_attributed_to_machine_or_receiver(
    error: OSError, families: set[socket.AddressFamily], routes: set[socket.AddressFamily], cause: str | None
) -> None:
    found = hindrance(error, families, lambda family: family in routes)
    assert (found.cause if found else None) == cause


def test_a_route_is_looked_up_without_sending_a_packet() -> None:
    assert isinstance(has_route(V4), bool) and isinstance(has_route(V6), bool)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOBUFS])
async def test_a_failure_to_open_a_socket_is_not_an_outcome(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    sender = HttpSender(LOCAL, resolver=Names(two_test=[["127.0.0.1", "127.0.0.2"]]))
    await sender.start()
    async with FaultServer(obliging) as server:
        replied(await sender.send(post(server.url)), 200)
        real = socket.socket

        def lacking(*arguments: object, **options: object) -> socket.socket:
            raise OSError(number, "lacking")

        monkeypatch.setattr(socket, "socket", lacking)
        for host in ("127.0.0.2", "two.test"):
            with pytest.raises(Hindered):
                await sender.send(post(f"http://{host}:{server.port}/"))
        replied(await sender.send(post(server.url)), 200)  # over the connection that is there
        monkeypatch.setattr(socket, "socket", real)
    await sender.close()


async def test_a_lack_of_memory_is_not_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = HttpSender(LOCAL)
    await sender.start()

    async def lacking(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sender._connector, "_create_connection", lacking)
    with pytest.raises(Hindered, match="memory"):
        await sender.send(post("http://127.0.0.1:9/"))
    await sender.close()


SCRIPT = """
import asyncio, resource, socket, sys
from app.adapters.http.sender import HttpSender
from app.core.errors import Hindered
from app.core.model.http_exchange import HttpReply
from tests.contracts.sender_kit import LOCAL, post

async def main(url, name_url):
    sender = HttpSender(LOCAL)
    await sender.start()
    used = len(__import__("os").listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, used + 8))
    taken = []
    try:
        while True:
            taken.append(socket.socket())
    except OSError:
        pass
    for each in (url, name_url):
        try:
            print("outcome", await sender.send(post(each)))
        except Hindered as error:
            print(error.cause)
    for each in taken:
        each.close()
    for each in (url, name_url):
        print(isinstance(await sender.send(post(each)), HttpReply))
    await sender.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_without_descriptors_is_hindered(tmp_path: Path) -> None:
    async with FaultServer(obliging) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            server.url,
            f"http://localhost:{server.port}/",
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        async with asyncio.timeout(PATIENCE_S):
            printed, _ = await child.communicate()
    assert printed.decode().split() == ["descriptors", "descriptors", "True", "True"]


async def test_an_unreachable_receiver_counts_as_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sender = HttpSender(LOCAL)
    await sender.start()
    refused(await sender.send(post(f"http://127.0.0.1:{port}/")), "refused")
    await sender.close()
