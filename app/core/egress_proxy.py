"""The proxy through which requests to endpoints leave a network: its address, and the hosts that do not go through it.

The list of exceptions is that of `NO_PROXY`, as curl and Go read it: host names (with their subdomains), addresses,
networks as CIDRs, each with an optional port, or `*` for all.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import unquote, urlsplit

import msgspec

_DEFAULT_PORT = 3128
#: entries of the list at most
MAX_EXCEPTIONS = 256
_NAME = re.compile(r"\*?\.?(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")


class ProxyAddress(msgspec.Struct, frozen=True):
    """Where the proxy listens, and the value of `proxy-authorization` (empty: none)."""

    host: str
    port: int
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> ProxyAddress:
        """From `http://user:password@host:port`. Raises `ValueError` with a sentence that shows no credentials."""
        problem = "http://host:port or http://user:password@host:port"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(problem) from None
        if parts.scheme == "https":
            raise ValueError(f"a proxy is reached over http://, and endpoints over TLS through it: {problem}")
        if parts.scheme != "http" or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(problem)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if not (user + password).isprintable() or ":" in user:
            raise ValueError("credentials are printable, and a user has no colon")
        pair = b64encode(f"{user}:{password}".encode()).decode() if parts.username is not None else ""
        return cls(host, port or _DEFAULT_PORT, f"Basic {pair}" if pair else "")


class ProxyExceptions:
    """The hosts to which requests go directly."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises `ValueError` for an entry that is no host name, address or network."""
        self._all = False
        #: with leading dot → ports; None: each
        self._names: list[tuple[str, int | None]] = []
        self._networks: list[tuple[IPv4Network | IPv6Network, int | None]] = []
        listed = [entry.strip().lower() for entry in entries if entry.strip()]
        if len(listed) > MAX_EXCEPTIONS:
            raise ValueError(f"at most {MAX_EXCEPTIONS} entries")
        for entry in listed:
            self._add(entry)

    def _add(self, entry: str) -> None:
        if entry == "*":
            self._all = True
            return
        host, port = _with_port(entry)
        try:
            self._networks.append((ip_network(host.strip("[]"), strict=False), port))
        except ValueError:
            if _NAME.fullmatch(host) is None:
                raise ValueError(f"{entry!r} is no host name, address or network") from None
            self._names.append((f".{host.removeprefix('*').strip('.')}", port))

    def cover(self, host: str, port: int) -> bool:
        """Whether requests to this host, a name or an address, go directly."""
        if self._all:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            dotted = f".{host.rstrip('.').lower()}"
            return any(dotted.endswith(name) and only in (None, port) for name, only in self._names)
        return any(address in network and only in (None, port) for network, only in self._networks)


def _with_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and len(port) < 6 and (":" not in host or host.endswith("]")):
        return host, int(port)
    return entry, None


def egress_proxy_problems(url: str | None, exceptions: Sequence[str]) -> list[str]:
    """Problems of EGRESS_PROXY and EGRESS_NO_PROXY."""
    problems = []
    for name, check in (
        ("EGRESS_PROXY", lambda: url and ProxyAddress.parse(url)),
        ("EGRESS_NO_PROXY", lambda: ProxyExceptions(exceptions)),
    ):
        try:
            check()
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems
