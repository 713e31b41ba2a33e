"""The egress guard: lets sockets be opened only towards addresses that the policy permits, and resolves names."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from app.core.addresses import EgressPolicy, classify
from app.core.errors import ConfigError

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

#: More answers than this are not tried: a name with a thousand dead addresses would cost a thousand connections.
MAX_ADDRESSES = 8
#: Lookups under way at once. A name server that hangs holds one each; the loop's own pool would be too small.
LOOKUP_THREADS = 32


class BlockedAddress(OSError):
    """The guard did not let a socket be opened; the text is a sentence for the endpoint's owner."""


def guard(
    policy: EgressPolicy, own_ports: Callable[[], Collection[int]] = frozenset
) -> Callable[[AddressInfo], socket.socket]:
    """A socket factory that judges the address that will really be connected to.

    It stands after name resolution, so it covers literals, names, answers that change between two lookups, and every
    address that is tried in turn. `own_ports`: where this service itself listens; nothing is sent there, whatever
    network is allowed. Raises BlockedAddress.
    """

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        verdict = classify(str(address[0]), policy)
        if not verdict.permitted:
            raise BlockedAddress(errno.EACCES, f"The address {address[0]} {verdict.value}.")
        if int(address[1]) in own_ports() and _is_here(family, address):
            raise BlockedAddress(
                errno.EACCES, f"The address {address[0]} with port {address[1]} is this service itself."
            )
        return socket.socket(family, kind, protocol)

    return open_socket


def _is_here(family: int, address: tuple[Any, ...]) -> bool:
    """Whether an address is one of this machine: only those can be bound to."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True


class ThreadResolver(AbstractResolver):
    """The system's resolver in threads of its own, so that slow lookups wait only for each other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """At most `MAX_ADDRESSES` addresses; raises OSError (gaierror) when there are none."""
        lookup = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "DNS cannot hold such a name") from error
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in found[:MAX_ADDRESSES]
        ]

    async def close(self) -> None:
        """Give up the lookups that have not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS as the system trusts it, plus the certificates of `ca_file`. Raises ConfigError when the file is no use."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"The CA file {ca_file} cannot be used: {error}."]) from error
    return context
