"""The egress guard: opens sockets only for addresses that the policy permits."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Collection
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from app.core.egress import EgressPolicy, classify
from app.core.errors import ConfigError

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class BlockedAddress(OSError):
    """The guard refused to open a socket; the text is a sentence for the endpoint's owner."""


def guard(
    policy: EgressPolicy, own_ports: Callable[[], Collection[int]] = frozenset
) -> Callable[[AddressInfo], socket.socket]:
    """A socket factory that checks the address that is actually connected to.

    It runs after name resolution, so it covers literals, names, answers that change between two lookups, and every
    address that is tried in turn. `own_ports`: ports of this service, to which nothing is sent even if their network
    is allowed. The factory raises `BlockedAddress`.
    """

    check = address_check(policy, own_ports)

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        check(family, address)
        return socket.socket(family, kind, protocol)

    return open_socket


def address_check(
    policy: EgressPolicy, own_ports: Callable[[], Collection[int]] = frozenset
) -> Callable[[int, tuple[Any, ...]], None]:
    """The guard without its socket: raises `BlockedAddress` for a family and address that may not be connected to."""

    def check(family: int, address: tuple[Any, ...]) -> None:
        verdict = classify(str(address[0]), policy)
        if not verdict.permitted:
            raise BlockedAddress(errno.EACCES, f"The address {address[0]} {verdict.value}.")
        if int(address[1]) in own_ports() and _is_here(family, address):
            raise BlockedAddress(
                errno.EACCES, f"The address {address[0]} with port {address[1]} is this service itself."
            )

    return check


def _is_here(family: int, address: tuple[Any, ...]) -> bool:
    """Whether an address belongs to this machine; only such addresses can be bound."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True


#: the resolved addresses of the connection that is about to be opened
_PINNED: ContextVar[list[ResolveResult]] = ContextVar("pinned")


class PinnedAddresses(AbstractResolver):
    """A resolver that returns addresses resolved before.

    aiohttp looks a name up in a task that outlives a cancellation. So the sender resolves it first, where the
    cancellation of an attempt ends its lookup.
    """

    @staticmethod
    def pin(addresses: list[ResolveResult]) -> None:
        """Set the addresses for connections that the current task opens."""
        _PINNED.set(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The pinned addresses."""
        return _PINNED.get()

    async def close(self) -> None:
        """Does nothing: there are no resources to free."""


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """A TLS context with the system's authorities and those of `ca_file`. Raises `ConfigError` for an unusable file."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"The CA file {ca_file} cannot be used: {error}."]) from error
    return context
